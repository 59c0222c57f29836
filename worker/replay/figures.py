"""The figures of an evaluation. Pure; equal to scikit-learn's, which serving does not install (tested)."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

_BINS = 15


class ClassFigures(msgspec.Struct, frozen=True):
    """One class, one against the rest."""

    precision: float
    recall: float
    f1: float
    support: int


class CalibrationBin(msgspec.Struct, frozen=True):
    """The answers whose confidence lies between `low` and `high`; the last bin includes 1."""

    low: float
    high: float
    n: int
    accuracy: float
    """Share of them that is right; 0 where there are none."""
    confidence: float
    """Their mean probability; 0 where there are none."""


class Figures(msgspec.Struct, frozen=True, omit_defaults=True):
    """What `moodstream evaluate` reports; averages over classes are macro unless named otherwise."""

    n: int
    accuracy: float
    macro_f1: float
    weighted_f1: float
    precision: float
    recall: float
    roc_auc_ovr: float
    """Mean over classes of the area under the ROC curve, one class against the rest, from probabilities."""
    ece: float
    """Expected calibration error of the most probable class, 15 equal bins (Guo et al. 2017)."""
    confusion: list[list[int]]
    """Row: the truth; column: the answer."""
    per_class: dict[str, ClassFigures]
    neutral_roc_auc: float | None = None
    """Area under the ROC curve of the gate's probability, neutral against the rest; only where some rows
    are neutral, some are not, and the model has a gate."""


def figures(truth: NDArray[np.intp], probabilities: NDArray[np.float64], classes: list[str]) -> Figures:
    """Score `probabilities` (n, classes) against `truth` (n,), indices into `classes`.

    A class that never occurs in `truth` and is never answered counts in no average.

    Raises:
        ValueError: there is nothing to score.
    """
    if not len(truth):
        raise ValueError("no labelled text to score")
    answer = probabilities.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth, answer), 1)
    hits, support, answered = np.diag(confusion), confusion.sum(axis=1), confusion.sum(axis=0)
    precision = _ratio(hits, answered)
    recall = _ratio(hits, support)
    f1 = _ratio(2 * hits, support + answered)
    seen = (support + answered) > 0
    areas = [roc_auc(truth == index, probabilities[:, index]) for index in np.flatnonzero(support)]
    return Figures(
        n=len(truth),
        accuracy=float(hits.sum() / len(truth)),
        macro_f1=float(macro_f1(confusion)),
        weighted_f1=float((f1 * support).sum() / support.sum()),
        precision=float(precision[seen].mean()),
        recall=float(recall[seen].mean()),
        roc_auc_ovr=float(np.mean([area for area in areas if area is not None] or [float("nan")])),
        ece=expected_calibration_error(truth, probabilities),
        confusion=confusion.tolist(),
        per_class={
            name: ClassFigures(float(precision[i]), float(recall[i]), float(f1[i]), int(support[i]))
            for i, name in enumerate(classes)
        },
    )


def macro_f1(confusion: NDArray[np.int64]) -> NDArray[np.float64]:
    """Mean F1 over the classes that occur, of each of many confusion tables.

    Args:
        confusion: (..., classes, classes) counts; row: the truth, column: the answer.

    Returns:
        (...) A class that is neither true nor answered counts in no mean.
    """
    hits = np.diagonal(confusion, axis1=-2, axis2=-1)
    whole = confusion.sum(axis=-1) + confusion.sum(axis=-2)
    # A class that does not occur has an F1 of 0 here, so the sum needs no mask.
    mean: NDArray[np.float64] = _ratio(2 * hits, whole).sum(axis=-1) / (whole > 0).sum(axis=-1)
    return mean


def expected_calibration_error(truth: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    """Mean over bins, weighted by size, of |accuracy - confidence|."""
    _, right, confidence = _bin_sums(truth, probabilities)
    return float(np.abs(right - confidence).sum() / len(truth))


def calibration_bins(truth: NDArray[np.intp], probabilities: NDArray[np.float64]) -> list[CalibrationBin]:
    """The 15 bins of a reliability diagram (Guo et al. 2017), those of `expected_calibration_error`.

    Args:
        truth: (n,) indices of the true classes.
        probabilities: (n, classes).
    """
    counts, right, confidence = _bin_sums(truth, probabilities)
    accuracy, mean = _ratio(right, counts), _ratio(confidence, counts)
    return [
        CalibrationBin(i / _BINS, (i + 1) / _BINS, int(counts[i]), float(accuracy[i]), float(mean[i]))
        for i in range(_BINS)
    ]


def _bin_sums(
    truth: NDArray[np.intp], probabilities: NDArray[np.float64]
) -> tuple[NDArray[np.intp], NDArray[np.float64], NDArray[np.float64]]:
    """Of each bin: how many answers, how many of them right, the sum of their confidences."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    bins = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    member = np.eye(_BINS)[bins]
    return np.bincount(bins, minlength=_BINS), right @ member, confidence @ member


def _ratio(part: NDArray[np.number], whole: NDArray[np.number]) -> NDArray[np.float64]:
    """Quotients, 0 where there is nothing to divide by."""
    quotients = np.zeros(np.shape(part))
    np.divide(part, whole, out=quotients, where=whole > 0)
    return quotients


def roc_auc(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve by mean ranks (Mann-Whitney U); None where a side is empty."""
    wins, losses = int(positive.sum()), int((~positive).sum())
    if not wins or not losses:
        return None
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2
    return float((mean_rank[inverse][positive].sum() - wins * (wins + 1) / 2) / (wins * losses))
