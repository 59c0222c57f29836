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


class Figures(msgspec.Struct, frozen=True):
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
    areas = [_area(truth == index, probabilities[:, index]) for index in np.flatnonzero(support)]
    return Figures(
        n=len(truth),
        accuracy=float(hits.sum() / len(truth)),
        macro_f1=float(f1[seen].mean()),
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


def expected_calibration_error(truth: NDArray[np.intp], probabilities: NDArray[np.float64]) -> float:
    """Mean over bins, weighted by size, of |accuracy - confidence|."""
    confidence = probabilities.max(axis=1)
    right = (probabilities.argmax(axis=1) == truth).astype(np.float64)
    bins = np.minimum((confidence * _BINS).astype(np.intp), _BINS - 1)
    gaps = np.bincount(bins, weights=right - confidence, minlength=_BINS)
    return float(np.abs(gaps).sum() / len(truth))


def _ratio(part: NDArray[np.int64], whole: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)


def _area(positive: NDArray[np.bool_], score: NDArray[np.float64]) -> float | None:
    """Area under the ROC curve by mean ranks (Mann-Whitney U); None where a side is empty."""
    wins, losses = int(positive.sum()), int((~positive).sum())
    if not wins or not losses:
        return None
    _, inverse, counts = np.unique(score, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    mean_rank = last - (counts - 1) / 2
    return float((mean_rank[inverse][positive].sum() - wins * (wins + 1) / 2) / (wins * losses))
