"""The model as the rest of moodstream sees it: texts in, calibrated probabilities and labels out."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worker.errors import ArtifactError
from worker.model.artifact import Artifact
from worker.model.backend import Backend, BackendName, make
from worker.model.text import steps
from worker.model.tokenise import open_tokeniser
from worker.types import EMOTIONS, LABELS, Classified

_MOST = 3.0
"""Bound of the exponent that softens or sharpens an answer: no logit that was calibrated on comes near it."""
_WARM_UP = ("so happy today", "i feel a bit lost and i do not know whom i could ask about it " * 6)


@dataclass(frozen=True, slots=True)
class Calibration:
    """How logits become probabilities; from the artefact's manifest.

    `columns[i]` is where emotion i of `EMOTIONS` stands among the logits.
    """

    columns: tuple[int, ...]
    temperature: float
    neutral_index: int | None
    neutral_temperature: float
    neutral_threshold: float
    softening: float = 0.0
    """The emotions' temperature is `temperature` * exp(`softening` * logit of neutral)."""


def calibrated(logits: NDArray[np.float32], calibration: Calibration, *, gate: bool) -> Classified:
    """Probabilities and labels from logits (n, outputs).

    The emotions: softmax of logits / temperature (Guo et al. 2017, "On Calibration of Modern Neural
    Networks"); where the artefact says so, the temperature of a post follows its neutral logit, because how
    sure an answer among the six may be depends on whether one of them is expressed. Neutral: an independent
    sigmoid of its own logit / temperature; with `gate`, it is the label wherever it reaches the artefact's
    threshold.
    """
    emotions = logits[:, calibration.columns].astype(np.float64)
    energy = np.logaddexp.reduce(emotions, axis=1)
    scaled = emotions / _temperatures(logits, calibration)
    scaled -= scaled.max(axis=1, keepdims=True)
    scores = np.exp(scaled)
    scores /= scores.sum(axis=1, keepdims=True)
    label = scores.argmax(axis=1)
    if calibration.neutral_index is None:
        return Classified(scores, np.zeros(len(scores)), label, energy)
    raw = logits[:, calibration.neutral_index].astype(np.float64) / calibration.neutral_temperature
    neutral = 1.0 / (1.0 + np.exp(-np.clip(raw, -60, 60)))
    if gate:
        label = np.where(neutral >= calibration.neutral_threshold, LABELS.index("neutral"), label)
    return Classified(scores, neutral, label, energy)


def _temperatures(logits: NDArray[np.float32], calibration: Calibration) -> NDArray[np.float64]:
    """(n, 1), or (1, 1) where all posts have the same."""
    if calibration.neutral_index is None or not calibration.softening:
        return np.full((1, 1), calibration.temperature)
    gate = logits[:, [calibration.neutral_index]].astype(np.float64)
    return calibration.temperature * np.exp(np.clip(calibration.softening * gate, -_MOST, _MOST))


class Classifier:
    """An artefact, loaded and warm.

    `prepare` is the host's part and `classify` the model's: the stream runs them in two threads, one batch
    apart. Any thread may prepare, also while another does; `classify` is for one thread at a time.
    """

    def __init__(self, artifact: Artifact, backend: Backend, *, gate: bool = True) -> None:
        manifest = artifact.manifest
        self.name = artifact.full_name
        self.runtime = backend.name
        self.backend = backend
        self._gate = gate
        self._calibration = _calibration(artifact)
        self._normalise, change = steps(manifest.text_version)
        self._tokeniser = open_tokeniser(artifact.tokenizer_path, manifest.max_length, change)
        self._preparing = threading.Lock()  # the tokeniser remembers words
        self.classify(self.prepare(_WARM_UP))

    def prepare(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text: normalised, tokenised, cut to the artefact's `max_length`."""
        with self._preparing:
            return self._tokeniser.encode(list(map(self._normalise, texts)))

    def was_cut(self, row: Sequence[int]) -> bool:
        """Whether a prepared row is as long as the model reads, so that the text was cut."""
        return self._tokeniser.was_cut(row)

    def classify(self, rows: Sequence[Sequence[int]]) -> Classified:
        """The model's answer for prepared rows, in their order.

        Raises:
            ValueError: the model gave no finite answer for some row.
        """
        logits = self.backend.logits(rows)
        if not np.isfinite(logits).all():
            raise ValueError("the model's logits are not finite")
        return calibrated(logits, self._calibration, gate=self._gate)

    def close(self) -> None:
        """Give the model's memory back."""
        self.backend.close()


def _calibration(artifact: Artifact) -> Calibration:
    manifest = artifact.manifest
    absent = [emotion for emotion in EMOTIONS if emotion not in manifest.labels]
    if absent:
        raise ArtifactError(artifact.path, [f"the label list lacks {', '.join(absent)}"])
    neutral = manifest.neutral
    return Calibration(
        columns=tuple(manifest.labels.index(emotion) for emotion in EMOTIONS),
        temperature=manifest.temperature,
        neutral_index=None if neutral is None else neutral.index,
        neutral_temperature=1.0 if neutral is None else neutral.temperature,
        neutral_threshold=1.0 if neutral is None else neutral.threshold,
        softening=0.0 if neutral is None else neutral.softening,
    )


def load(
    artifact: Artifact, backend: BackendName = "auto", *, streams: int = 0, gate: bool = True
) -> Classifier:
    """The artefact on that backend, warm."""
    return Classifier(artifact, make(artifact, backend, streams), gate=gate)
