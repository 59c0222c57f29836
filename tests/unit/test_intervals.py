"""Intervals: as scipy computes them, and they hold the truth as often as they promise."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.stats import binomtest
from sklearn.metrics import f1_score

from worker.replay.intervals import bootstrap_macro_f1, wilson


@pytest.mark.parametrize(
    ("hits", "n"), [(0, 1), (1, 1), (0, 40), (40, 40), (8, 10), (37, 50), (4649, 5000), (1, 1_000_000)]
)
def test_wilson_is_scipys(hits: int, n: int) -> None:
    found = wilson(hits, n)
    expected = binomtest(hits, n).proportion_ci(method="wilson")

    assert found.value == hits / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)


@pytest.mark.parametrize("truth", [0.5, 0.8, 0.93, 0.99])
def test_wilson_covers_the_truth_as_often_as_it_says(truth: float) -> None:
    hits = np.random.default_rng(7).binomial(500, truth, size=2000)
    covered = [(one := wilson(int(count), 500)).low <= truth <= one.high for count in hits]

    assert 0.93 <= np.mean(covered) <= 0.975


def test_a_share_of_nothing_is_none() -> None:
    with pytest.raises(ValueError, match="nothing"):
        wilson(0, 0)
    with pytest.raises(ValueError, match="no text"):
        bootstrap_macro_f1(np.zeros((3, 3), dtype=np.int64))


def table(truth: NDArray[np.intp], answer: NDArray[np.intp], classes: int) -> NDArray[np.int64]:
    counts = np.zeros((classes, classes), dtype=np.int64)
    np.add.at(counts, (truth, answer), 1)
    return counts


def test_the_bootstrap_is_that_of_drawing_rows() -> None:
    rng = np.random.default_rng(3)
    truth = rng.integers(0, 7, 400)
    answer = np.where(rng.random(400) < 0.8, truth, rng.integers(0, 7, 400))

    found = bootstrap_macro_f1(table(truth, answer, 7))
    drawn = [
        f1_score(truth[rows], answer[rows], average="macro")
        for rows in (rng.integers(0, 400, 400) for _ in range(500))
    ]

    assert found.value == pytest.approx(f1_score(truth, answer, average="macro"))
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(drawn, (0.025, 0.975))), abs=0.01)


def test_the_same_table_gives_the_same_interval() -> None:
    counts = np.array([[30, 5], [8, 50]])

    assert bootstrap_macro_f1(counts) == bootstrap_macro_f1(counts)
    assert bootstrap_macro_f1(counts, seed=1) != bootstrap_macro_f1(counts)
