"""Calibration and scores of an imported model, on labelled texts that it has not been fitted to here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from training.calibrate import Calibration, calibrate
from training.data import Source, Split
from training.importing.labels import Classes
from training.scores import emotion_scores, gate_scores
from worker.types import EMOTIONS

Logits = NDArray[np.float32]
Answer = Callable[[Sequence[str]], Logits]
"""From texts to logits (n, logits), in the artefact's order."""

Scores = dict[str, dict[str, float]]

UNCALIBRATED = Calibration(temperature=1.0, neutral=None)
"""The probabilities as they were published: softmax of the logits."""


@dataclass(frozen=True)
class Reading:
    """A validation split with the network's answer for it."""

    key: str
    """`source/validation`, as in the manifest's scores."""
    split: Split
    logits: Logits
    """(n, 6 or 7) in the order of `EMOTIONS`, then neutral."""


def read(sources: Sequence[Source], classes: Classes, answer: Answer) -> list[Reading]:
    """The network's answers for the validation split of every source."""
    return [
        Reading(
            f"{source.key}/validation",
            source.splits["validation"],
            in_order(answer(source.splits["validation"].texts), classes),
        )
        for source in sources
    ]


def in_order(logits: Logits, classes: Classes) -> Logits:
    """(n, 6 or 7) logits of the artefact, in the order of `EMOTIONS` and neutral at the end."""
    columns = [classes.labels.index(emotion) for emotion in EMOTIONS]
    return logits[:, [*columns, *([len(columns)] if classes.neutral else [])]]


def trouble(validation: Sequence[Split], classes: Classes) -> list[str]:
    """Why some validation splits cannot calibrate a model with such classes."""
    problems = []
    if not any((split.emotion >= 0).any() for split in validation):
        problems.append("--data: no validation text expresses exactly one of the emotions; give other data")
    if classes.neutral and not any(_knows_both(split) for split in validation):
        problems.append(
            "--data: no validation split has both neutral and other texts, so the gate of the class 'neutral'"
            " cannot be fitted: add such data (GoEmotions), or leave the class out with --drop-neutral"
        )
    return problems


def fit(readings: Sequence[Reading]) -> Calibration:
    """Temperatures and the neutral gate, on splits without `trouble`."""
    return calibrate([(reading.split, reading.logits) for reading in readings])


def _knows_both(split: Split) -> bool:
    return bool((split.neutral == 1).any() and (split.neutral == 0).any())


def scores(readings: Sequence[Reading], calibration: Calibration) -> Scores:
    """The figures of every reading, by the names that `moodstream train` uses."""
    return {
        reading.key: {name: round(value, 5) for name, value in _figures(reading, calibration)}
        for reading in readings
    }


def _figures(reading: Reading, calibration: Calibration) -> Iterator[tuple[str, float]]:
    split, logits = reading.split, reading.logits
    certain = split.emotion >= 0
    if certain.any():
        yield from emotion_scores(split.emotion[certain], calibration.emotions(logits[certain])).items()
    if calibration.neutral is not None and (split.neutral == 1).any():
        known = split.neutral >= 0
        neutrality = calibration.neutrality(logits[known])
        yield from gate_scores(split.neutral[known], neutrality, calibration.neutral.threshold).items()


def agreement(full: Logits, other: Logits) -> float:
    """Share of rows for which the best of two kinds of logits (n, k), in the same order, is the same."""
    return float((full.argmax(axis=1) == other.argmax(axis=1)).mean())


def accuracy(readings: Sequence[Reading]) -> float:
    """Share of right answers among the six, over the rows of all readings together."""
    right = np.concatenate(
        [
            reading.logits[reading.split.emotion >= 0, : len(EMOTIONS)].argmax(axis=1)
            == reading.split.emotion[reading.split.emotion >= 0]
            for reading in readings
        ]
    )
    return float(right.mean())
