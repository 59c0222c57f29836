"""Which of two models is better on the same texts, and how sure that is. Pure.

`mcnemar` asks whether one is right more often; `bootstrap` says by how much the other way of drawing the
texts could have moved the differences.
"""

from __future__ import annotations

import math
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.replay.figures import macro_f1

EXACT_BELOW = 25
"""Discordant pairs. From here on chi-square is close to the exact binomial test (Dietterich 1998,
"Approximate Statistical Tests for Comparing Supervised Classification Learning Algorithms")."""

_COVERAGE = (0.025, 0.975)


class RightWrong(msgspec.Struct, frozen=True):
    """How many texts which of two models answered right."""

    both: int
    only_a: int
    only_b: int
    neither: int


class McNemar(msgspec.Struct, frozen=True):
    """McNemar's test (1947) that two models are equally often right."""

    method: Literal["exact binomial", "chi-square, continuity-corrected"]
    statistic: float | None
    """(|b - c| - 1)^2 / (b + c) with one degree of freedom; None for the exact test."""
    p: float
    """Two-sided: how often equally good models would differ at least this much."""


class Interval(msgspec.Struct, frozen=True):
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float


def right_wrong(truth: NDArray[np.intp], a: NDArray[np.intp], b: NDArray[np.intp]) -> RightWrong:
    """The 2x2 table of two models' answers `a` and `b`, each (n,), against `truth` (n,)."""
    right_a, right_b = a == truth, b == truth
    return RightWrong(
        both=int((right_a & right_b).sum()),
        only_a=int((right_a & ~right_b).sum()),
        only_b=int((~right_a & right_b).sum()),
        neither=int((~right_a & ~right_b).sum()),
    )


def mcnemar(only_a: int, only_b: int) -> McNemar:
    """McNemar's test on the pairs of which one alone is right.

    Fewer than `EXACT_BELOW` of them: the two-sided exact binomial test, twice the smaller tail of
    Binomial(b + c, 1/2). Else chi-square with Edwards' (1948) continuity correction, whose upper tail with
    one degree of freedom is erfc(sqrt(x / 2)).
    """
    pairs, fewer = only_a + only_b, min(only_a, only_b)
    if pairs < EXACT_BELOW:
        tail = sum(math.comb(pairs, k) for k in range(fewer + 1)) / 2**pairs
        return McNemar("exact binomial", None, min(1.0, 2 * tail))
    statistic = max(0, abs(only_a - only_b) - 1) ** 2 / pairs
    return McNemar("chi-square, continuity-corrected", statistic, math.erfc(math.sqrt(statistic / 2)))


def bootstrap(
    truth: NDArray[np.intp],
    a: NDArray[np.intp],
    b: NDArray[np.intp],
    classes: int,
    *,
    seed: int = 0,
    draws: int = 10_000,
) -> tuple[Interval, Interval]:
    """Differences B - A in accuracy and in macro F1, with paired percentile intervals.

    The texts are drawn with replacement, both models' answers with them (Efron and Tibshirani 1993, ch. 13
    and 16). Rows of equal (truth, a, b) are alike, so what is drawn is how many of each kind there are: a
    multinomial, the same distribution as drawing rows and much faster.

    Args:
        truth: (n,) indices of the true classes; n > 0.
        a: (n,) answers of model A.
        b: (n,) answers of model B.
        classes: How many there are.
        seed: Of the draws.
        draws: How many times.

    Raises:
        ValueError: there is no text.
    """
    if not len(truth):
        raise ValueError("no text to compare on")
    kinds, counts = np.unique(np.stack([truth, a, b], axis=1), axis=0, return_counts=True)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(truth), counts / len(truth), size=draws)
    weights = np.concatenate([counts[None, :], drawn])  # first row: the texts as they are
    tables = [_confusions(weights, kinds[:, 0], kinds[:, column], classes) for column in (1, 2)]
    accuracy = [table.trace(axis1=1, axis2=2) / len(truth) for table in tables]
    f1 = [macro_f1(table) for table in tables]
    return percentile_interval(accuracy[1] - accuracy[0]), percentile_interval(f1[1] - f1[0])


def _confusions(
    weights: NDArray[np.int64], truth: NDArray[np.intp], answer: NDArray[np.intp], classes: int
) -> NDArray[np.int64]:
    """(draws, classes, classes) from how often each kind of row was drawn, (draws, kinds)."""
    place = np.zeros((len(truth), classes * classes), dtype=np.int64)
    place[np.arange(len(truth)), truth * classes + answer] = 1
    return (weights @ place).reshape(-1, classes, classes)


def percentile_interval(values: NDArray[np.float64]) -> Interval:
    """The 95% percentile interval of a figure (first) from its draws (the rest)."""
    low, high = np.quantile(values[1:], _COVERAGE)
    return Interval(float(values[0]), float(low), float(high))
