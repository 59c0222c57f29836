"""Calibration finds the temperatures and the threshold that made the data."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import expit, softmax

from training.calibrate import Calibration, calibrate
from training.data import SIX, Split
from worker.model.artifact import NeutralGate


def drawn(rows: int, temperature: float, seed: int) -> tuple[Split, NDArray[np.float32]]:
    """Rows whose labels follow softmax(logits / temperature): what calibration should find again."""
    rng = np.random.default_rng(seed)
    logits = rng.normal(0, 4, (rows, SIX + 1)).astype(np.float32)
    probabilities = softmax(logits[:, :SIX] / temperature, axis=1)
    labels = [rng.choice(SIX, p=row) for row in probabilities]
    targets = np.zeros((rows, SIX + 1), np.float32)
    targets[np.arange(rows), labels] = 1
    return Split(["text"] * rows, targets), logits


@pytest.mark.parametrize("temperature", [0.7, 1.0, 2.5])
def test_the_temperature_that_made_the_data_is_found(temperature: float) -> None:
    fitted = calibrate([drawn(20_000, temperature, seed=1)])

    assert fitted.temperature == pytest.approx(temperature, rel=0.05)
    assert fitted.neutral is None, "no row is neutral"


def test_sources_count_the_same_whatever_their_size() -> None:
    small, large = drawn(3_000, 0.8, seed=2), drawn(30_000, 2.0, seed=3)

    both = calibrate([small, large]).temperature
    again = calibrate([small, drawn(3_000, 2.0, seed=4)]).temperature

    assert both == pytest.approx(again, rel=0.1)
    assert calibrate([large]).temperature > both > calibrate([small]).temperature


def test_the_gate_is_fitted_where_both_kinds_are_known() -> None:
    rng = np.random.default_rng(5)
    split, logits = drawn(20_000, 1.0, seed=6)
    neutral = rng.random(20_000) < expit(logits[:, SIX] / 3.0)
    targets = split.targets.copy()
    targets[neutral] = 0
    targets[neutral, SIX] = 1

    gate = calibrate([(Split(split.texts, targets), logits)]).neutral

    assert gate is not None
    assert gate.index == SIX
    assert gate.temperature == pytest.approx(3.0, rel=0.07)
    assert 0.3 < gate.threshold < 0.7


def test_a_source_without_neutral_texts_does_not_move_the_gate() -> None:
    split, logits = drawn(2_000, 1.0, seed=7)
    targets = split.targets.copy()
    targets[logits[:, SIX] > 0] = 0
    targets[logits[:, SIX] > 0, SIX] = 1
    gated = (Split(split.texts, targets), logits)

    alone, both = calibrate([gated]).neutral, calibrate([gated, drawn(2_000, 1.0, seed=8)]).neutral

    assert alone is not None
    assert both is not None
    assert (alone.temperature, alone.threshold) == (both.temperature, both.threshold)


@pytest.mark.parametrize("softening", [-0.08, 0.0, 0.12])
def test_the_softening_that_made_the_data_is_found(softening: float) -> None:
    rng = np.random.default_rng(9)
    logits = rng.normal(0, 3, (12_000, SIX + 1)).astype(np.float32)
    probabilities = softmax(logits[:, :SIX] / (1.3 * np.exp(softening * logits[:, [SIX]])), axis=1)
    targets = np.zeros((12_000, SIX + 1), np.float32)
    targets[np.arange(12_000), [rng.choice(SIX, p=row) for row in probabilities]] = 1
    neutral = rng.random(12_000) < expit(logits[:, SIX])
    targets[neutral] = 0
    targets[neutral, SIX] = 1

    fitted = calibrate([(Split(["text"] * 12_000, targets), logits)])

    assert fitted.temperature == pytest.approx(1.3, rel=0.05)
    assert fitted.neutral is not None
    assert fitted.neutral.softening == pytest.approx(softening, abs=0.03)


def test_probabilities() -> None:
    gate = NeutralGate(index=6, temperature=2.0, threshold=0.5)
    logits = np.array([[0, 1, 0, 0, 0, 0, 4], [500, 0, 0, 0, 0, 0, -4000]], np.float32)

    emotions = Calibration(2.0, gate).emotions(logits)
    neutral = Calibration(2.0, gate).neutrality(logits)

    assert emotions.sum(axis=1) == pytest.approx([1, 1])
    assert emotions[0, 1] / emotions[0, 0] == pytest.approx(np.exp(1 / 2))
    assert neutral == pytest.approx([1 / (1 + np.exp(-2)), 0])
    assert list(Calibration(2.0, None).neutrality(logits)) == [0, 0]
    assert Calibration(2.0, gate).figures() == {
        "temperature": 2.0,
        "neutral temperature": 2.0,
        "neutral threshold": 0.5,
        "softening": 0.0,
    }
