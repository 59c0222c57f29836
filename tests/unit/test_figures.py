from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from worker.replay.figures import figures, macro_f1, roc_auc

CLASSES = ["a", "b", "c"]


@given(st.integers(0, 10_000), st.integers(20, 300))
def test_every_figure_equals_scikit_learns(seed: int, n: int) -> None:
    rng = np.random.default_rng(seed)
    truth = np.concatenate([np.arange(3), rng.integers(0, 3, n)])
    probabilities = rng.dirichlet([1, 1, 1], len(truth)).round(2)  # rounded, so that there are ties
    probabilities[np.arange(len(truth)), truth] += rng.uniform(0, 0.6, len(truth))
    probabilities /= probabilities.sum(axis=1, keepdims=True)
    answer = probabilities.argmax(axis=1)
    found = figures(truth, probabilities, CLASSES)
    assert found.n == len(truth)
    assert found.accuracy == pytest.approx(sk.accuracy_score(truth, answer))
    assert found.macro_f1 == pytest.approx(sk.f1_score(truth, answer, average="macro"))
    assert found.weighted_f1 == pytest.approx(sk.f1_score(truth, answer, average="weighted"))
    assert found.precision == pytest.approx(
        sk.precision_score(truth, answer, average="macro", zero_division=0)
    )
    assert found.recall == pytest.approx(sk.recall_score(truth, answer, average="macro"))
    assert found.roc_auc_ovr == pytest.approx(sk.roc_auc_score(truth, probabilities, multi_class="ovr"))
    assert found.confusion == sk.confusion_matrix(truth, answer).tolist()
    assert found.per_class["b"].support == int((truth == 1).sum())


def test_calibration_error_by_hand() -> None:
    """Four answers of confidence 0.75, two of them right: |0.5 - 0.75| = 0.25."""
    probabilities = np.array([[0.75, 0.25]] * 4)
    assert figures(np.array([0, 0, 1, 1]), probabilities, ["a", "b"]).ece == pytest.approx(0.25)


def test_macro_f1_of_many_tables_is_that_of_each() -> None:
    rng = np.random.default_rng(0)
    truth, answers = rng.integers(0, 3, (5, 40)), rng.integers(0, 2, (5, 40))
    tables = np.stack(
        [sk.confusion_matrix(t, a, labels=[0, 1, 2, 3]) for t, a in zip(truth, answers, strict=True)]
    )
    expected = [sk.f1_score(t, a, average="macro") for t, a in zip(truth, answers, strict=True)]
    assert macro_f1(tables) == pytest.approx(expected)


def test_area_under_the_curve_equals_scikit_learns_with_ties() -> None:
    rng = np.random.default_rng(1)
    positive, score = rng.random(200) < 0.3, rng.random(200).round(1)
    assert roc_auc(positive, score) == pytest.approx(sk.roc_auc_score(positive, score))
    assert roc_auc(np.array([True, True]), np.array([0.1, 0.2])) is None


def test_nothing_to_score_is_an_error() -> None:
    with pytest.raises(ValueError, match="no labelled text"):
        figures(np.array([], dtype=np.intp), np.zeros((0, 3)), CLASSES)
