from __future__ import annotations

import numpy as np
import pytest

from worker.replay.compare import Comparison, Side, compare
from worker.replay.figures import figures
from worker.replay.paired import RightWrong

CLASSES = ["a", "b"]
TRUTH = np.array([0, 1] * 50)


def wrong_on(first: int, last: int) -> np.ndarray:
    """Answers that are right but for these rows."""
    answers = TRUTH.copy()
    answers[first:last] = 1 - answers[first:last]
    return answers


def compared(a: np.ndarray, b: np.ndarray) -> Comparison:
    side_a = Side("x@1", figures(TRUTH, np.eye(2)[a], CLASSES))
    side_b = Side("y@2", figures(TRUTH, np.eye(2)[b], CLASSES))
    return compare(side_a, side_b, TRUTH, a, b, classes=2)


def test_a_clear_winner_is_named_with_its_lead() -> None:
    found = compared(wrong_on(0, 20), wrong_on(18, 24))
    assert found.right_wrong == RightWrong(both=76, only_a=4, only_b=18, neither=2)
    assert found.agreement == pytest.approx(0.78)
    assert found.accuracy_difference.value == pytest.approx(0.14)
    assert found.accuracy_difference.low > 0
    assert found.mcnemar.p < 0.01
    assert found.verdict.startswith(
        "B (y@2) is better: it answers 14.00 points more of 100 texts right than A"
    )
    assert "0.43% of such tests" in found.verdict


def test_the_other_way_round_the_other_one_wins_by_as_much() -> None:
    found = compared(wrong_on(18, 24), wrong_on(0, 20))
    assert found.accuracy_difference.value == pytest.approx(-0.14)
    assert found.verdict.startswith(
        "A (x@1) is better: it answers 14.00 points more of 100 texts right than B"
    )


def test_a_lead_that_may_be_chance_names_no_winner() -> None:
    found = compared(wrong_on(0, 3), wrong_on(3, 5))
    assert found.mcnemar.p == 1
    assert found.verdict.startswith("No winner can be named: B (y@2) answers 1.00 points more")
    assert "100% of such tests" in found.verdict


def test_equal_models_are_called_equal() -> None:
    found = compared(wrong_on(0, 3), wrong_on(5, 8))
    assert found.verdict.startswith("Neither is better: A (x@1) and B (y@2) answer equally many of 100 texts")
