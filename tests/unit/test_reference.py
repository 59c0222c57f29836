"""How sure a model is on validation texts: written into an artefact, pinned, and read by who compares."""

from __future__ import annotations

from pathlib import Path

import msgspec
import numpy as np
import pytest

from tests.support.artifacts import variant
from worker.distribution import COLUMNS, confidence_column
from worker.errors import ArtifactError
from worker.model import artifact as artifacts
from worker.model.bundled import bundled_model
from worker.model.reference import REFERENCE, read_reference, write_reference
from worker.settings import ModelSettings
from worker.trends.alerts.assemble import references_of
from worker.types import LABELS, Classified

JOY, NEUTRAL = LABELS.index("joy"), LABELS.index("neutral")


def answered(*given: tuple[int, float]) -> Classified:
    """A label and its probability, for each text."""
    scores, neutral = np.full((len(given), 6), 0.01), np.zeros(len(given))
    for row, (label, score) in enumerate(given):
        if label == NEUTRAL:
            neutral[row] = score
        else:
            scores[row, label] = score
    return Classified(scores, neutral, np.array([label for label, _ in given]), np.zeros(len(given)))


def manifest_of(folder: Path) -> artifacts.Manifest:
    """As it is written, whatever the files are."""
    return msgspec.json.decode((folder / artifacts.MANIFEST).read_bytes(), type=artifacts.Manifest)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An artefact with a reference, in a store."""
    made = variant(tmp_path / "mine", name="mine", version="2")
    write_reference(made, [answered((JOY, 0.92), (JOY, 0.93)), answered((NEUTRAL, 0.61))])
    artifacts.write_manifest(made, manifest_of(made))
    return made


def test_what_was_answered_is_read_back(folder: Path) -> None:
    found = read_reference(folder)
    assert found is not None
    assert found[JOY, confidence_column(0.92)] == 2
    assert found[NEUTRAL, confidence_column(0.61)] == 1
    assert found.sum() == 3
    assert found[:, COLUMNS["confidence"].stop :].sum() == 0
    assert artifacts.load(folder).has(REFERENCE)


def test_the_bundled_artefact_needs_none() -> None:
    artifacts.load(bundled_model())
    read_reference(bundled_model())


def test_trends_find_it_by_the_name_that_labels_carry(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    of = references_of(ModelSettings(store=folder.parent))
    found = of("mine@2")
    assert found is not None
    assert found.sum() == 3
    assert of("unknown@1") is None
    assert of("unknown@1") is None
    assert caplog.text.count("unknown@1") >= 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda body: body + b" ", "SHA-256"),
        (lambda _: b"{", "reference.json"),
        (lambda body: body.replace(b"0.975", b"0.97"), "other bins"),
        (lambda body: body.replace(b'"joy"', b'"glee"'), "glee"),
    ],
)  # fmt: skip
def test_one_that_is_not_ours_is_refused(folder: Path, change: object, said: str) -> None:
    body = (folder / REFERENCE).read_bytes()
    (folder / REFERENCE).write_bytes(change(body))  # type: ignore[operator]
    if said != "SHA-256":
        artifacts.write_manifest(folder, manifest_of(folder))
    with pytest.raises(ArtifactError, match=said):
        read_reference(folder)


def test_one_that_is_pinned_and_gone_is_refused(folder: Path) -> None:
    (folder / REFERENCE).unlink()
    with pytest.raises(ArtifactError, match="cannot be read"):
        read_reference(folder)
    assert references_of(ModelSettings(store=folder.parent))("mine@2") is None
