from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score, confusion_matrix

from worker.replay.shares import holm, kappa, wilson


def test_wilson_as_published() -> None:
    """Newcombe 1998, "Two-sided confidence intervals for the single proportion", table I, method 3."""
    for part, whole, low, high in (
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ):
        found = wilson(part, whole)
        assert found.value == part / whole
        assert (found.low, found.high) == pytest.approx((low, high), abs=5e-5)


@given(st.integers(0, 500), st.integers(1, 500))
def test_wilson_holds_its_share_within_0_and_1(part: int, more: int) -> None:
    found = wilson(part, part + more - 1 or 1)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_nothing_has_no_share() -> None:
    with pytest.raises(ValueError, match="nothing"):
        wilson(0, 0)


def test_kappa_is_scikit_learns() -> None:
    rng = np.random.default_rng(1)
    a = rng.integers(0, 4, 300)
    b = np.where(rng.random(300) < 0.7, a, rng.integers(0, 4, 300))
    assert kappa(confusion_matrix(a, b)) == pytest.approx(cohen_kappa_score(a, b))
    assert kappa(np.array([[5, 0], [0, 0]])) is None


def test_holm_steps_down() -> None:
    """Wright 1992, "Adjusted p-values for simultaneous inference": smallest times all, then one less, ..."""
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([0.02]) == [0.02]
    assert holm([]) == []
