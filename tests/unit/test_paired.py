from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from sklearn import metrics as sk

from worker.replay.paired import EXACT_BELOW, Interval, bootstrap, mcnemar, right_wrong


@given(st.integers(0, 60), st.integers(0, 60))
def test_mcnemar_equals_scipys_tests(only_a: int, only_b: int) -> None:
    found = mcnemar(only_a, only_b)
    pairs = only_a + only_b
    if pairs < EXACT_BELOW:
        expected = stats.binomtest(only_a, pairs).pvalue if pairs else 1.0
        assert found.statistic is None
        assert found.method == "exact binomial"
    else:
        statistic = max(0, abs(only_a - only_b) - 1) ** 2 / pairs
        expected = stats.chi2.sf(statistic, df=1)
        assert found.statistic == pytest.approx(statistic)
    assert found.p == pytest.approx(expected)


def test_mcnemar_by_hand() -> None:
    """1 against 5: 2 * (1 + 6) / 2^6. 10 against 30: 19^2 / 40."""
    assert mcnemar(1, 5).p == pytest.approx(14 / 64)
    assert mcnemar(10, 30).statistic == pytest.approx(9.025)
    assert mcnemar(0, 0).p == 1


def test_the_table_counts_each_text_once() -> None:
    truth, a, b = np.array([0, 0, 1, 1, 2]), np.array([0, 0, 1, 0, 0]), np.array([0, 1, 0, 1, 1])
    table = right_wrong(truth, a, b)
    assert (table.both, table.only_a, table.only_b, table.neither) == (1, 2, 1, 1)


def answers(seed: int, n: int, share: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, a model that is right on 70%, one that is right on `share`."""
    rng = np.random.default_rng(seed)
    truth = rng.choice(3, n, p=[0.6, 0.3, 0.1])
    a, b = (np.where(rng.random(n) < right, truth, rng.integers(0, 3, n)) for right in (0.7, share))
    return truth, a, b


def test_the_differences_themselves_equal_scikit_learns() -> None:
    truth, a, b = answers(seed=1, n=400, share=0.8)
    accuracy, f1 = bootstrap(truth, a, b, 3, draws=10)
    assert accuracy.value == pytest.approx(sk.accuracy_score(truth, b) - sk.accuracy_score(truth, a))
    expected = sk.f1_score(truth, b, average="macro") - sk.f1_score(truth, a, average="macro")
    assert f1.value == pytest.approx(expected)


def test_the_intervals_are_those_of_drawing_rows() -> None:
    """The slow and obvious way, row by row, gives the same intervals up to chance."""
    truth, a, b = answers(seed=2, n=300, share=0.8)
    found = bootstrap(truth, a, b, 3, seed=5, draws=20_000)
    rng = np.random.default_rng(9)
    accuracy, f1 = [], []
    for _ in range(1000):
        rows = rng.integers(0, len(truth), len(truth))
        t, x, y = truth[rows], a[rows], b[rows]
        accuracy.append((y == t).mean() - (x == t).mean())
        f1.append(sk.f1_score(t, y, average="macro") - sk.f1_score(t, x, average="macro"))
    for interval, drawn in zip(found, (accuracy, f1), strict=True):
        low, high = np.quantile(drawn, (0.025, 0.975))
        assert interval.low == pytest.approx(low, abs=0.01)
        assert interval.high == pytest.approx(high, abs=0.01)


def test_the_interval_of_accuracy_is_close_to_the_normal_one() -> None:
    truth, a, b = answers(seed=3, n=2000, share=0.75)
    difference = (b == truth).astype(float) - (a == truth)
    half = 1.96 * difference.std() / np.sqrt(len(truth))
    accuracy, _ = bootstrap(truth, a, b, 3)
    assert accuracy.low == pytest.approx(difference.mean() - half, abs=0.002)
    assert accuracy.high == pytest.approx(difference.mean() + half, abs=0.002)


def test_the_same_seed_gives_the_same_interval_and_equal_models_none() -> None:
    truth, a, b = answers(seed=4, n=200, share=0.8)
    assert bootstrap(truth, a, b, 3, seed=1) == bootstrap(truth, a, b, 3, seed=1)
    assert bootstrap(truth, a, b, 3, seed=1) != bootstrap(truth, a, b, 3, seed=2)
    assert bootstrap(truth, a, a, 3) == (Interval(0, 0, 0), Interval(0, 0, 0))


def test_no_text_is_an_error() -> None:
    none = np.array([], dtype=np.intp)
    with pytest.raises(ValueError, match="no text"):
        bootstrap(none, none, none, 3)
