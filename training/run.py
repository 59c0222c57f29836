"""One training from top to bottom.

1 read        the data sets, the base
2 fine-tune   on the cleaned training texts
3 calibrate   on the validation texts
4 export      to half precision and 8 bits; refused where 8 bits cost too much accuracy
5 measure     on the test texts, read here for the first time
6 describe    manifest and model card; only then does the folder get its name
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer
from transformers import PreTrainedModel, set_seed

from training import card
from training.calibrate import Calibration, Logits, calibrate
from training.data import Corpus, Split, SplitName, build_corpus, load_sources
from training.export import export, predict_openvino
from training.model import (
    Base,
    encode,
    find_base,
    load_model,
    load_tokenizer,
    predict,
    prepare_libraries,
)
from training.request import Request
from training.scores import accuracy, confusion, emotion_scores, gate_scores
from training.train import Rows, fine_tune
from worker.errors import ArtifactError
from worker.model.artifact import Artifact, DataSource, Manifest, write_manifest
from worker.types import EMOTIONS, LABELS

Scores = dict[str, dict[str, float]]
Ids = Sequence[Sequence[int]]


@dataclass(frozen=True)
class Result:
    """What a training gave."""

    artifact: Artifact
    epochs: Sequence[Mapping[str, float]]
    """The figures after each epoch: see `training.train.fine_tune`."""
    training_s: float
    """Wall-clock time of the fine-tuning alone, in seconds."""

    def as_json(self) -> dict[str, object]:
        """For the last line of `moodstream train --json`."""
        return {
            "model": self.artifact.full_name,
            "path": str(self.artifact.path),
            "training_s": round(self.training_s, 1),
            "epochs": list(self.epochs),
            "scores": self.artifact.manifest.scores,
        }


@dataclass(frozen=True)
class Reading:
    """A split of one source, with what two forms of the model answer for it."""

    key: str
    """`source/split`, as in the manifest's scores."""
    split: Split
    full: Logits
    """Of the network in single precision."""
    int8: Logits
    """Of the exported graph."""


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
    prepare_libraries()
    set_seed(recipe.seed)

    corpus = build_corpus(load_sources(request.data), recipe.text_version)
    base = find_base(recipe.base)
    tokenizer = load_tokenizer(base, recipe.max_length)
    model = load_model(base, LABELS if corpus.has_neutral else EMOTIONS)
    train_ids = encode(tokenizer, corpus.train.texts)
    validation = _encoded(corpus, "validation", tokenizer)
    say(f"{base.name}: {model.num_parameters() / 1e6:.1f}M parameters")
    say(f"training rows after cleaning: {dict(corpus.train_rows)}")

    started = time.perf_counter()
    epochs = fine_tune(
        model,
        recipe,
        Rows(train_ids, corpus.train),
        {key: Rows(ids, split) for key, (split, ids) in validation.items()},
        report=lambda row: say(_line(row)),
        progress=progress,
        pad_id=tokenizer.token_to_id("[PAD]") or 0,
    )
    training_s = time.perf_counter() - started
    say(f"fine-tuned in {training_s:.0f} s")

    with _finished_or_removed(request.output) as folder:
        export(model, tokenizer, train_ids, folder, recipe.seed)
        checked = _read("validation", validation, model, folder)
        calibration = calibrate([(reading.split, reading.full) for reading in checked])
        say(f"calibrated: {_line(calibration.figures())}")
        check_int8(checked, recipe.int8_tolerance, request.output)
        tested = _read("test", _encoded(corpus, "test", tokenizer), model, folder)
        manifest = _manifest(
            request,
            corpus=corpus,
            base=base,
            model=model,
            calibration=calibration,
            scores={r.key: measure(r, calibration) for r in (*tested, *checked)},
        )
        text = _card(request, manifest, corpus=corpus, base=base, epochs=epochs, tested=tested)
        (folder / "README.md").write_text(text, encoding="utf-8")
        manifest = write_manifest(folder, manifest).manifest
    return Result(Artifact(request.output, manifest), epochs, training_s)


def measure(reading: Reading, calibration: Calibration) -> dict[str, float]:
    """Every figure for one split, by the names that the manifest uses.

    The answer among the six is measured on the rows that express exactly one; `gated` is the share
    of those that the gate calls neutral. The gate itself is measured where a split has neutral rows.
    """
    split, full = reading.split, reading.full
    certain = split.emotion >= 0
    truth = split.emotion[certain]
    figures: dict[str, float] = {}
    if len(truth):
        figures |= emotion_scores(truth, calibration.emotions(full[certain]))
        figures |= {
            f"int8_{name}": value
            for name, value in emotion_scores(truth, calibration.emotions(reading.int8[certain])).items()
            if name in ("accuracy", "macro_f1", "ece")
        }
    if calibration.neutral is None:
        return figures
    threshold, neutrality = calibration.neutral.threshold, calibration.neutrality(full)
    if len(truth):
        figures["gated"] = float((neutrality[certain] >= threshold).mean())
    known = split.neutral >= 0
    if (split.neutral == 1).any():
        figures |= gate_scores(split.neutral[known], neutrality[known], threshold)
    return figures


def check_int8(readings: Sequence[Reading], tolerance: float, path: Path) -> None:
    """Refuse 8-bit weights that cost too much, over the rows of all splits together.

    Raises:
        ArtifactError: They lose more than `tolerance` in accuracy.
    """
    truth = np.concatenate([r.split.emotion for r in readings])
    certain = truth >= 0

    def score(answers: Sequence[Logits]) -> float:
        best = np.concatenate([logits[:, : len(EMOTIONS)].argmax(axis=1) for logits in answers])
        return accuracy(truth[certain], best[certain])

    full, int8 = score([r.full for r in readings]), score([r.int8 for r in readings])
    if full - int8 > tolerance + 1e-9:  # A loss of exactly the tolerance is allowed.
        raise ArtifactError(
            path,
            [
                f"8-bit weights answer {int8:.4f} of the validation texts right and full precision"
                f" {full:.4f}: more than int8_tolerance = {tolerance} is lost. Train with another"
                " seed, or raise the recipe's int8_tolerance"
            ],
        )


def _card(
    request: Request,
    manifest: Manifest,
    *,
    corpus: Corpus,
    base: Base,
    epochs: Sequence[Mapping[str, float]],
    tested: Sequence[Reading],
) -> str:
    """The model card."""
    return card.render(
        manifest,
        recipe_name=request.recipe_name,
        recipe=request.recipe,
        base_licence=base.licence,
        sources=corpus.sources,
        epochs=epochs,
        confusions={reading.key: _confusion(reading) for reading in tested},
    )


def _confusion(reading: Reading) -> list[list[int]]:
    certain = reading.split.emotion >= 0
    return confusion(reading.split.emotion[certain], reading.full[certain, : len(EMOTIONS)])


def _encoded(corpus: Corpus, name: SplitName, tokenizer: Tokenizer) -> dict[str, tuple[Split, Ids]]:
    """One split of every source, with its token ids, by source key."""
    return {
        source.key: (source.splits[name], encode(tokenizer, source.splits[name].texts))
        for source in corpus.sources
    }


def _read(
    name: SplitName,
    encoded: Mapping[str, tuple[Split, Ids]],
    model: PreTrainedModel,
    folder: Path,
) -> list[Reading]:
    """Have both forms of the model answer a split of every source."""
    return [
        Reading(
            key=f"{key}/{name}",
            split=split,
            full=predict(model, ids),
            int8=predict_openvino(folder / "openvino.xml", ids),
        )
        for key, (split, ids) in encoded.items()
    ]


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
        ],
        scores={
            key: {name: round(value, 5) for name, value in figures.items()} for key, figures in scores.items()
        },
    )


@contextlib.contextmanager
def _finished_or_removed(output: Path) -> Iterator[Path]:
    """A folder that gets its name when all went well, and is removed when not."""
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)


def _line(figures: Mapping[str, float]) -> str:
    return "  ".join(f"{name} {value:.4g}" for name, value in figures.items())
