"""Scores against values worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest

from training.scores import accuracy, confusion, emotion_scores, gate_scores, macro_f1
from worker.replay.figures import expected_calibration_error

# Truth: two of class 0, one of class 1. One of class 0 is taken for class 1.
TRUTH = np.array([0, 0, 1])
PROBABILITIES = np.array(
    [
        [0.80, 0.20, 0, 0, 0, 0],
        [0.45, 0.55, 0, 0, 0, 0],
        [0.30, 0.70, 0, 0, 0, 0],
    ]
)


def test_emotion_scores_by_hand() -> None:
    scores = emotion_scores(TRUTH, PROBABILITIES)

    assert scores["rows"] == 3
    assert scores["accuracy"] == pytest.approx(2 / 3)
    # Class 0: precision 1, recall 1/2, F1 2/3. Class 1: precision 1/2, recall 1, F1 2/3. No other occurs.
    assert scores["precision"] == pytest.approx((1 + 1 / 2) / 2)
    assert scores["recall"] == pytest.approx((1 / 2 + 1) / 2)
    assert scores["macro_f1"] == pytest.approx((2 / 3 + 2 / 3) / 2)
    assert scores["weighted_f1"] == pytest.approx(2 / 3)
    # Every pair is in the right order for both classes that occur.
    assert scores["roc_auc_ovr"] == pytest.approx(1.0)


def test_roc_auc_is_left_out_where_only_one_class_occurs() -> None:
    assert "roc_auc_ovr" not in emotion_scores(TRUTH[:2], PROBABILITIES[:2])


def test_expected_calibration_error_by_hand() -> None:
    # Of the 15 bins, 0.80 right, 0.55 wrong and 0.70 right each have one to themselves.
    expected = (abs(1 - 0.80) + abs(0 - 0.55) + abs(1 - 0.70)) / 3

    assert expected_calibration_error(TRUTH, PROBABILITIES) == pytest.approx(expected)
    assert emotion_scores(TRUTH, PROBABILITIES)["ece"] == pytest.approx(expected)


def test_certainty_falls_into_the_last_bin() -> None:
    certain = np.eye(6)[[0, 1]]

    assert expected_calibration_error(np.array([0, 1]), certain) == pytest.approx(0)


def test_gate_scores_by_hand() -> None:
    truth, probability = np.array([1, 1, 0, 0]), np.array([0.9, 0.3, 0.6, 0.1])

    scores = gate_scores(truth, probability, threshold=0.6)

    # Answers: yes, no, yes, no.
    assert scores["neutral_precision"] == pytest.approx(0.5)
    assert scores["neutral_recall"] == pytest.approx(0.5)
    assert scores["neutral_f1"] == pytest.approx(0.5)
    # Of the four pairs, 0.3 against 0.6 alone is in the wrong order.
    assert scores["neutral_roc_auc"] == pytest.approx(0.75)
    assert "neutral_roc_auc" not in gate_scores(truth[:2], probability[:2], threshold=0.6)


def test_confusion_counts_truth_by_row() -> None:
    counts = confusion(TRUTH, PROBABILITIES)

    assert counts[0] == [1, 1, 0, 0, 0, 0]
    assert counts[1] == [0, 1, 0, 0, 0, 0]
    assert sum(map(sum, counts)) == 3


def test_no_rows() -> None:
    none = np.array([], dtype=np.intp)

    assert accuracy(none, none) == 0
    assert macro_f1(none, none) == 0
