"""One training from top to bottom.

1 read        the data sets, the base; teachers' answers where there are teachers
2 fine-tune   on the cleaned training texts
3 calibrate   on the validation texts
4 export      to half precision and 8 bits; refused where 8 bits cost too much accuracy
5 measure     on the test texts, read here for the first time
6 behave      plain cases, disturbed texts and, with its corpus, bias: through the serving path
7 describe    manifest and model card; only then does the folder get its name
"""

from __future__ import annotations

import dataclasses
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec
from tokenizers import Tokenizer
from transformers import PreTrainedModel, set_seed

from training import card, conduct
from training.backtranslation import augmented, default_cache, translators
from training.cache import folder_for
from training.calibrate import Calibration, calibrate
from training.checkpoints import digest, open_folder
from training.data import Audit, Corpus, Split, SplitName, build_corpus, held_out, load_sources
from training.distil import distil
from training.export import export
from training.extra import read_extra
from training.folder import finished_or_removed
from training.measure import Ids, check_int8, confusion_of, draw, measure, read
from training.model import Base, encode, prepare_libraries
from training.network import Network, open_network
from training.recipe import Recipe
from training.request import Request
from training.rows import ChangingRows, Rows
from training.train import fine_tune, installed_trackers
from worker.model.artifact import Artifact, DataSource, Manifest, write_manifest
from worker.model.reference import write_reference
from worker.model.text import normaliser
from worker.types import EMOTIONS, LABELS

Scores = dict[str, dict[str, float]]


_INDIFFERENT = ("description", "int8_tolerance", "trackers", "log_folder")
"""What of a recipe does not change the weights: a training may go on with other values."""


@dataclass(frozen=True)
class Result:
    """What a training gave."""

    artifact: Artifact
    epochs: Sequence[Mapping[str, float]]
    """The figures after each epoch: see `training.train.fine_tune`."""
    training_s: float | None
    """Wall-clock time of the fine-tuning alone, in seconds; None where another run did it."""

    def as_json(self) -> dict[str, object]:
        """For the last line of `moodstream train --json`."""
        return {
            "model": self.artifact.full_name,
            "path": str(self.artifact.path),
            "training_s": None if self.training_s is None else round(self.training_s, 1),
            "epochs": list(self.epochs),
            "scores": self.artifact.manifest.scores,
        }


def run(request: Request, *, say: Callable[[str], None], progress: bool = False) -> Result:
    """Train, and write the artefact to `request.output`.

    Args:
        request: What to do.
        say: Called with a line for people now and then.
        progress: Whether to draw a progress bar on standard error.

    Raises:
        ConfigurationError: The data, the base or the recipe cannot be used.
        DependencyError: Data or base would have to come from a hub that does not answer.
        ArtifactError: The 8-bit model loses more accuracy than the recipe allows.
    """
    recipe = request.recipe
    prepare_libraries(recipe.spare_cores)
    set_seed(recipe.seed)

    corpus = _corpus(request)
    network = open_network(recipe, LABELS if corpus.has_neutral else EMOTIONS)
    say(f"{network.base.name}: {network.model.num_parameters() / 1e6:.1f}M parameters")
    say(f"training rows: {dict(corpus.train_rows)}; {_account(corpus.audit, cleaned=recipe.deduplicate)}")
    if request.extra:
        say(f"rows that people added: {_line(dataclasses.asdict(corpus.extra))}")
    train = _training_rows(request, corpus, say, progress=progress)
    train_ids = encode(network.tokenizer, train.texts)
    validation = _encoded(corpus, "validation", network.tokenizer)

    checkpoints, last = open_folder(
        request.output, _identity(recipe, network.base, train), fresh=request.fresh
    )
    if last is not None:
        say(f"going on from {last}")
    started = time.perf_counter()
    epochs = fine_tune(
        network.model,
        recipe,
        _rows(network.tokenizer, train_ids, train, recipe),
        {key: Rows(ids, split) for key, (split, ids) in validation.items()},
        folder=checkpoints,
        report=lambda row: say(_line(row)),
        trackers=installed_trackers(recipe, say),
        checkpoint=last,
        progress=progress,
        pad_id=network.pad_id,
    )
    training_s = time.perf_counter() - started
    say(f"fine-tuned in {training_s:.0f} s")

    artifact = _finish(request, corpus, network, train_ids=train_ids, epochs=epochs, say=say)
    shutil.rmtree(checkpoints)
    return Result(artifact, epochs, training_s)


def _finish(
    request: Request,
    corpus: Corpus,
    network: Network,
    *,
    train_ids: Ids,
    epochs: Sequence[Mapping[str, float]],
    say: Callable[[str], None],
) -> Artifact:
    """Steps 3 to 7: everything after the last step of the optimiser."""
    model = network.plain()
    with finished_or_removed(request.output) as folder:
        export(model, network.tokenizer, train_ids, folder, request.recipe.seed)
        validation = _encoded(corpus, "validation", network.tokenizer)
        checked = read("validation", validation, model, folder)
        calibration = calibrate([(reading.split, reading.full) for reading in checked])
        say(f"calibrated: {_line(calibration.figures())}")
        check_int8(checked, request.recipe.int8_tolerance, request.output)
        tested = read("test", _encoded(corpus, "test", network.tokenizer), model, folder)
        manifest = _manifest(
            request,
            corpus=corpus,
            base=network.base,
            model=model,
            calibration=calibration,
            scores={r.key: measure(r, calibration) for r in (*tested, *checked)},
        )
        write_reference(folder, [calibration.answers(reading.int8) for reading in checked])
        found = conduct.measure(write_manifest(folder, manifest), corpus.sources, request.eec)
        scores = {**manifest.scores, **_rounded(found.scores())}
        manifest = write_manifest(folder, msgspec.structs.replace(manifest, scores=scores)).manifest
        draw(tested, calibration, folder)
        text = card.render(
            manifest,
            request,
            base=network.base,
            sources=corpus.sources,
            epochs=epochs,
            confusions={reading.key: confusion_of(reading) for reading in tested},
            behaviour=found.markdown(),
        )
        (folder / "README.md").write_text(text, encoding="utf-8")
    return Artifact(request.output, manifest)


def _training_rows(request: Request, corpus: Corpus, say: Callable[[str], None], *, progress: bool) -> Split:
    """The labelled rows; rare ones translated there and back, and all taught, where that is wanted."""
    recipe = request.recipe
    if recipe.back_translation is not None:
        there, back = translators(recipe.back_translation)
        more = augmented(
            corpus.train,
            recipe.back_translation,
            there,
            back,
            default_cache(),
            say=say,
            held_out=held_out(corpus.sources),
            normalise=normaliser(recipe.text_version),
            progress=progress,
        )
        corpus = dataclasses.replace(corpus, train=more)
    if request.teachers:
        kept = folder_for("answers")
        return distil(corpus, request.teachers, recipe.teacher_weight, say, cache=kept)
    return corpus.train


def _corpus(request: Request) -> Corpus:
    recipe = request.recipe
    return build_corpus(
        load_sources(request.data),
        recipe.text_version,
        [*_posts(request.unlabelled)],
        extra=read_extra(request.extra) if request.extra else None,
        deduplicate=recipe.deduplicate,
    )


def _account(audit: Audit, *, cleaned: bool) -> str:
    return (
        f"{audit.repeated} repeated texts ({audit.conflicting} with conflicting labels) and"
        f" {audit.held_out} that stand in a held-out split {'taken out' if cleaned else 'left in'},"
        f" {audit.empty} empty"
    )


def _identity(recipe: Recipe, base: Base, train: Split) -> dict[str, object]:
    """What decides the result of a training, for its checkpoints."""
    decisive = {key: value for key, value in msgspec.to_builtins(recipe).items() if key not in _INDIFFERENT}
    return {
        "base": base.name,
        "rows": len(train),
        "texts and targets": digest(train.texts, train.targets.tobytes()),
        **decisive,
    }


def _posts(files: Sequence[Path]) -> Iterator[str]:
    """The texts of files with one a line; what follows a tab is somebody's label."""
    for file in files:
        for line in file.read_text(encoding="utf-8").split("\n"):
            yield line.partition("\t")[0]


def _rows(tokenizer: Tokenizer, ids: Ids, train: Split, recipe: Recipe) -> Rows:
    if not recipe.augmentation:
        return Rows(ids, train)
    return ChangingRows(tokenizer, ids, train, share=recipe.augmentation, seed=recipe.seed)


def _encoded(corpus: Corpus, name: SplitName, tokenizer: Tokenizer) -> dict[str, tuple[Split, Ids]]:
    """One split of every source, with its token ids, by source key."""
    return {
        source.key: (source.splits[name], encode(tokenizer, source.splits[name].texts))
        for source in corpus.sources
    }


def _manifest(
    request: Request,
    *,
    corpus: Corpus,
    base: Base,
    model: PreTrainedModel,
    calibration: Calibration,
    scores: Scores,
) -> Manifest:
    return Manifest(
        name=request.name,
        version=request.version,
        labels=list(EMOTIONS),
        neutral=calibration.neutral,
        temperature=calibration.temperature,
        architecture=str(model.config.model_type),
        max_length=request.recipe.max_length,
        text_version=request.recipe.text_version,
        created=datetime.now(UTC).replace(microsecond=0),
        base=base.name,
        data=[
            DataSource(source.name, source.licence, corpus.train_rows[source.key])
            for source in corpus.sources
        ]
        + _added(request, corpus)
        + _taught(request, corpus),
        scores=_rounded(scores),
    )


def _added(request: Request, corpus: Corpus) -> list[DataSource]:
    """The rows that people added."""
    if not request.extra:
        return []
    return [DataSource("people's corrections", "whoever runs the stream's", corpus.extra.rows)]


def _taught(request: Request, corpus: Corpus) -> list[DataSource]:
    """The texts that teachers alone have labelled."""
    if not request.teachers:
        return []
    return [DataSource("texts without labels", "see their publishers", len(corpus.unlabelled))]


def _rounded(scores: Scores) -> Scores:
    return {key: {name: round(value, 5) for name, value in found.items()} for key, found in scores.items()}


def _line(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
