"""Which question answers are scored on: which of the six, or which of the six and neutral. Pure."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from worker.types import EMOTIONS, LABELS, NEUTRAL


def classes_of(truth: Collection[str]) -> list[str]:
    """Where the truth knows no `neutral`, the question is which of the six; else all seven are asked for."""
    return list(LABELS if NEUTRAL in truth else EMOTIONS)


def over_classes(
    scores: NDArray[np.float64],
    neutral: NDArray[np.float64],
    label: NDArray[np.integer],
    classes: Collection[str],
) -> NDArray[np.float64]:
    """Answers as probabilities over `classes`; the best of each row is the answer.

    Over the six these are their own probabilities. With neutral among the classes, what the gate leaves is
    shared by the six. The gate's threshold is not 0.5, so the label given is put on top by the least that
    there is: an answer is what was published.

    Args:
        scores: (n, 6) over `EMOTIONS`.
        neutral: (n,) of the gate.
        label: (n,) indices into `LABELS` of the labels given.
        classes: Of `classes_of`.

    Returns:
        (n, classes)
    """
    if NEUTRAL not in classes:
        return scores
    spread = np.column_stack([(1 - neutral)[:, None] * scores, neutral])
    rows = np.arange(len(label))
    spread[rows, label] = np.maximum(spread[rows, label], np.nextafter(spread.max(axis=1), 2))
    return spread
