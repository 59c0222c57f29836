"""A model that needs no weights, for tests of what stands around it."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np

from worker.model.artifact import Artifact, write_manifest
from worker.model.artifact import load as load_artifact
from worker.model.bundled import bundled_model
from worker.types import EMOTIONS, Classified


class WordModel:
    """Answers the emotion whose name the text begins with; ids are the text's code points.

    A text that begins with `broken` makes the whole batch fail, one with `uncuttable` cannot be tokenised.
    While `hold` is set, answers wait. Once `dead` it fails on everything; once `short` an answer is missing.
    """

    runtime = "words"

    def __init__(self, name: str = "words@1") -> None:
        self.name = name
        self.hold = threading.Event()
        self.go_on = threading.Event()
        self.calls: list[int] = []
        self.dead = False
        self.short = False
        self.closed = False

    def close(self) -> None:
        self.closed = True

    def prepare(self, texts: Sequence[str]) -> list[list[int]]:
        if any(text.startswith("uncuttable") for text in texts):
            raise ValueError("cannot tokenise")
        return [[ord(character) for character in text[:64]] for text in texts]

    def was_cut(self, row: Sequence[int]) -> bool:
        return len(row) == 64

    def classify(self, rows: Sequence[Sequence[int]]) -> Classified:
        if self.hold.is_set():
            self.go_on.wait(30)
        self.calls.append(len(rows))
        texts = ["".join(map(chr, row)) for row in rows]
        if self.dead or any(text.startswith("broken") for text in texts):
            raise RuntimeError("cannot compute")
        rows = rows[: len(rows) - self.short]
        scores = np.full((len(rows), len(EMOTIONS)), 0.02)
        for index, text in enumerate(texts[: len(rows)]):
            place = next((i for i, emotion in enumerate(EMOTIONS) if text.startswith(emotion)), 0)
            scores[index, place] = 0.9
        return Classified(scores, np.zeros(len(rows)), scores.argmax(axis=1), np.zeros(len(rows)))


def bundled_as(folder: Path, version: str, *, temperature: float = 1.0) -> Artifact:
    """A copy of the bundled model with another version, whose answers are `temperature` times as mild."""
    shutil.copytree(bundled_model(), folder, ignore=shutil.ignore_patterns("*.svg", "README.md"))
    manifest = load_artifact(folder).manifest
    changed = msgspec.structs.replace(
        manifest, version=version, temperature=manifest.temperature * temperature
    )
    return write_manifest(folder, changed)
