"""How good a model's answers are: the figures of `moodstream evaluate`, and those of the neutral gate."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from sklearn import metrics

from worker.replay.figures import figures
from worker.types import EMOTIONS

Integers = NDArray[np.intp]
Floats = NDArray[np.float64]


def accuracy(truth: Integers, answer: Integers) -> float:
    """Share of answers that are right; 0 where there are none."""
    return float((truth == answer).mean()) if len(truth) else 0.0


def macro_f1(truth: Integers, answer: Integers, classes: int = len(EMOTIONS)) -> float:
    """Mean F1 over the classes, each counting the same; one that never occurs counts as 0."""
    if not len(truth):
        return 0.0
    labels = list(range(classes))
    return float(metrics.f1_score(truth, answer, labels=labels, average="macro", zero_division=0))


def weighted_f1(truth: Integers, answer: Integers) -> float:
    """Mean F1 over the six, each weighed by its rows; 0 where there are none."""
    if not len(truth):
        return 0.0
    labels = list(range(len(EMOTIONS)))
    return float(metrics.f1_score(truth, answer, labels=labels, average="weighted", zero_division=0))


def emotion_scores(truth: Integers, probabilities: Floats) -> dict[str, float]:
    """The figures for the answer among the six.

    Args:
        truth: (n,) indices into `EMOTIONS`.
        probabilities: (n, 6), each row adding up to 1.

    Returns:
        `rows`; `accuracy`, `macro_f1`, `weighted_f1`; `precision` and `recall` (macro); `ece`: those of
        `moodstream evaluate`. Where at least two classes occur also the area under the ROC curve, one
        class against the rest: `roc_auc_ovr` (from probabilities, mean over the classes that occur),
        `roc_auc_ovr_weighted` (the same, each class weighed by its rows) and
        `roc_auc_ovr_weighted_from_labels` (from the answers alone: lower, and some cards report it).
    """
    found = figures(truth, probabilities, list(EMOTIONS))
    scores = {
        "rows": float(found.n),
        "accuracy": found.accuracy,
        "macro_f1": found.macro_f1,
        "weighted_f1": found.weighted_f1,
        "precision": found.precision,
        "recall": found.recall,
        "ece": found.ece,
    }
    if len(np.unique(truth)) > 1:
        answers = np.eye(len(EMOTIONS))[probabilities.argmax(axis=1)]
        scores["roc_auc_ovr"] = found.roc_auc_ovr
        scores["roc_auc_ovr_weighted"] = _weighted_area(truth, probabilities)
        scores["roc_auc_ovr_weighted_from_labels"] = _weighted_area(truth, answers)
    return scores


def _weighted_area(truth: Integers, score: Floats) -> float:
    """Area under the ROC curve, one class against the rest, mean over the classes weighed by their rows."""
    classes, rows = np.unique(truth, return_counts=True)
    areas = [metrics.roc_auc_score(truth == one, score[:, one]) for one in classes]
    return float(np.average(areas, weights=rows))


def gate_scores(truth: Integers, probability: Floats, threshold: float) -> dict[str, float]:
    """The figures for the neutral gate.

    Args:
        truth: (n,) 1 where the text is neutral, 0 where it is not.
        probability: (n,) of neutral.
        threshold: The answer is neutral from here on.

    Returns:
        `neutral_rows`, `neutral_precision`, `neutral_recall`, `neutral_f1`, and `neutral_roc_auc`
        where both kinds occur.
    """
    answer = probability >= threshold
    precision, recall, f1, _ = metrics.precision_recall_fscore_support(
        truth, answer, average="binary", pos_label=1, zero_division=0
    )
    scores = {
        "neutral_rows": float(len(truth)),
        "neutral_precision": float(precision),
        "neutral_recall": float(recall),
        "neutral_f1": float(f1),
    }
    if len(np.unique(truth)) == 2:
        scores["neutral_roc_auc"] = float(metrics.roc_auc_score(truth, probability))
    return scores


def confusion(truth: Integers, answers: NDArray[np.floating]) -> list[list[int]]:
    """(6, 6) counts: rows are the true emotions, columns the answers, the best of `answers` (n, 6)."""
    return figures(truth, answers.astype(np.float64), list(EMOTIONS)).confusion
