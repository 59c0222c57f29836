"""One import from top to bottom.

1 look        at the checkpoint, the data and the order: every problem is said before anything is loaded
2 load        network and tokenizer, by transformers
3 write       weights, tokenizer and the graph in single precision
4 check       against transformers; refused where a logit is off
5 calibrate   on validation texts, where there are some
6 quantise    where 8 bits were asked for; refused where they cost too much accuracy
7 describe    manifest and card; only then does the folder get its name
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from training.data import Source
from training.export import make_readable, pad_id, quantised, sample, single_precision, write_graph
from training.folder import finished_or_removed
from training.importing import card, measure, network, parity
from training.importing.checkpoint import Checkpoint
from training.importing.measure import Logits, Reading
from training.importing.network import Network
from training.importing.order import Order, default_name, prepared
from training.importing.parity import Parity
from training.model import prepare_libraries
from worker.errors import ArtifactError
from worker.model.artifact import Artifact, Manifest, write_manifest
from worker.model.openvino_backend import OpenVinoBackend
from worker.model.text import normaliser
from worker.model.tokenise import open_tokeniser

TEXT_VERSION = 0
"""The network was trained on texts as they come."""

INT8_TOLERANCE = 0.01
"""Accuracy that 8 bits may lose on the validation texts."""

_SEED = 0
_EXAMPLES = 4


@dataclass(frozen=True)
class Result:
    """What an import gave."""

    artifact: Artifact
    parity: Parity
    int8_agreement: float | None
    """Share of sample texts that 8 bits label as single precision does; None without 8 bits."""

    def as_json(self) -> dict[str, object]:
        """For the last line of `moodstream model import --json`."""
        manifest = self.artifact.manifest
        return {
            "model": self.artifact.full_name,
            "path": str(self.artifact.path),
            "labels": manifest.labels,
            "neutral": manifest.neutral is not None,
            "temperature": manifest.temperature,
            "max_length": manifest.max_length,
            "parity": self.parity.as_json(),
            "int8_agreement": self.int8_agreement,
            "scores": manifest.scores,
        }


@dataclass(frozen=True)
class _Draft:
    """An artefact that is being made."""

    folder: Path
    manifest: Manifest
    checkpoint: Checkpoint

    @property
    def artifact(self) -> Artifact:
        return Artifact(self.folder, self.manifest)


def run(order: Order, *, say: Callable[[str], None]) -> Result:
    """Import, and write the artefact to `order.output`.

    Args:
        order: What to do.
        say: Called with a line for people now and then.

    Raises:
        ConfigurationError: The checkpoint, the data or the order cannot be used; lists every problem.
        DependencyError: The checkpoint would have to come from a hub that does not answer.
        ArtifactError: The artefact would not answer as the checkpoint does.
    """
    prepare_libraries()
    checkpoint, sources = prepared(order)
    loaded = network.load(checkpoint, order.wish.max_length)
    say(f"{checkpoint.place.name}: {checkpoint.architecture}, {loaded.model.num_parameters() / 1e6:.1f}M")
    texts = parity.sample_texts()
    ids, published = network.answers(loaded, texts)
    expected: Logits = published[:, list(checkpoint.classes.rows)]

    with finished_or_removed(order.output) as folder:
        draft = _Draft(folder, _manifest(order, checkpoint, loaded), checkpoint)
        network.arranged(loaded.model, checkpoint.architecture, checkpoint.classes)
        network.write(loaded, folder)
        graph = single_precision(loaded.model, ids[:_EXAMPLES])
        write_graph(graph, folder, half=False)
        found = parity.check(draft.artifact, texts, ids, expected, output=order.output)
        say(f"logits of {found.texts} texts within {max(found.openvino, found.torch):.1g} of transformers'")

        answers = _readings(draft, sources)
        agreement = None
        if order.int8:
            full = answers
            rows = _ids(draft.artifact, _calibration_texts(sources, texts))
            write_graph(quantised(graph, sample(rows, _SEED), pad_id(loaded.model)), folder, half=True)
            answers = _readings(draft, sources)
            _check_int8(full, answers, order.output)
            agreement = measure.agreement(expected, _answer(draft.artifact, texts))
            say(f"8 bits give {agreement:.1%} of the sample texts the label of single precision")

        calibration = measure.fit(answers) if answers else measure.UNCALIBRATED
        manifest = msgspec.structs.replace(
            draft.manifest,
            neutral=calibration.neutral,
            temperature=calibration.temperature,
            scores=measure.scores(answers, calibration),
        )
        text = card.render(manifest, found, int8_agreement=agreement)
        (folder / "README.md").write_text(text, encoding="utf-8")
        make_readable(folder)
        manifest = write_manifest(folder, manifest).manifest
    return Result(Artifact(order.output, manifest), found, agreement)


def _manifest(order: Order, checkpoint: Checkpoint, loaded: Network) -> Manifest:
    """What is known before anything is measured."""
    return Manifest(
        name=order.name or default_name(checkpoint.place.name),
        version=order.version,
        labels=list(checkpoint.classes.labels),
        neutral=None,
        temperature=1.0,
        architecture=checkpoint.architecture,
        max_length=loaded.max_length,
        text_version=TEXT_VERSION,
        created=datetime.now(UTC).replace(microsecond=0),
        base=checkpoint.place.name,
        data=[],
        scores={},
    )


def _readings(draft: _Draft, sources: Sequence[Source]) -> list[Reading]:
    """What the graph in the folder answers for every validation split."""
    if not sources:
        return []
    return measure.read(sources, draft.checkpoint.classes, lambda texts: _answer(draft.artifact, texts))


def _answer(artifact: Artifact, texts: Sequence[str]) -> Logits:
    """(n, logits) through the tokenizer and the graph of a folder."""
    backend = OpenVinoBackend(artifact)
    try:
        return backend.logits(_ids(artifact, texts))
    finally:
        backend.close()


def _ids(artifact: Artifact, texts: Sequence[str]) -> list[list[int]]:
    normalise = normaliser(TEXT_VERSION)
    tokeniser = open_tokeniser(artifact.tokenizer_path, artifact.manifest.max_length)
    return tokeniser.encode([normalise(text) for text in texts])


def _calibration_texts(sources: Sequence[Source], samples: Sequence[str]) -> list[str]:
    """Texts that show 8 bits how large activations become: training texts, else the samples."""
    return [text for source in sources for text in source.splits["train"].texts] or list(samples)


def _check_int8(full: Sequence[Reading], int8: Sequence[Reading], output: Path) -> None:
    """Refuse 8 bits that cost too much, where there are labelled texts to tell.

    Raises:
        ArtifactError: They lose more than `INT8_TOLERANCE` in accuracy.
    """
    if not full:
        return
    before, after = measure.accuracy(full), measure.accuracy(int8)
    if before - after > INT8_TOLERANCE + 1e-9:  # A loss of exactly the tolerance is allowed.
        raise ArtifactError(
            output,
            [
                f"8 bits answer {after:.4f} of the validation texts right and single precision {before:.4f}:"
                f" more than {INT8_TOLERANCE} is lost; import without --int8"
            ],
        )
