from __future__ import annotations

import numpy as np
import pytest
from scipy.special import expit, softmax

from worker.model.classifier import Calibration, calibrated
from worker.types import LABELS

PLAIN = Calibration((0, 1, 2, 3, 4, 5), 1.0, None, 1.0, 1.0)


def test_probabilities_are_the_tempered_softmax() -> None:
    logits = np.random.default_rng(1).normal(0, 4, (50, 6)).astype(np.float32)
    found = calibrated(logits, Calibration((0, 1, 2, 3, 4, 5), 1.7, None, 1.0, 1.0), gate=True)
    np.testing.assert_allclose(found.scores, softmax(logits / 1.7, axis=1), rtol=1e-5)
    assert (found.label == logits.argmax(axis=1)).all()
    assert not found.neutral.any()


def test_other_label_orders_are_put_right() -> None:
    """Imported checkpoints have orders of their own: column i of the answer is always emotion i."""
    logits = np.array([[9.0, 0, 0, 0, 0, 0]], dtype=np.float32)
    found = calibrated(logits, Calibration((5, 4, 3, 2, 1, 0), 1.0, None, 1.0, 1.0), gate=True)
    assert LABELS[found.label[0]] == "surprise"


@pytest.mark.parametrize(("gate", "expected"), [(True, ["neutral", "joy"]), (False, ["joy", "joy"])])
def test_the_gate_answers_neutral_from_its_threshold_on(gate: bool, expected: list[str]) -> None:
    logits = np.array([[0, 5, 0, 0, 0, 0, 2.0], [0, 5, 0, 0, 0, 0, 1.0]], dtype=np.float32)
    threshold = float(expit(1.5 / 2.0))
    found = calibrated(logits, Calibration((0, 1, 2, 3, 4, 5), 1.0, 6, 2.0, threshold), gate=gate)
    np.testing.assert_allclose(found.neutral, expit(logits[:, 6] / 2.0))
    assert [LABELS[index] for index in found.label] == expected


def test_extreme_logits_stay_finite() -> None:
    logits = np.array([[3e38, -3e38, 0, 0, 0, 0]], dtype=np.float32)
    assert np.isfinite(calibrated(logits, PLAIN, gate=True).scores).all()


def test_an_answer_is_the_softer_the_likelier_no_emotion_is_expressed() -> None:
    logits = np.array([[4.0, 0, 0, 0, 0, 0, gate] for gate in (-5.0, 0.0, 5.0)], dtype=np.float32)
    found = calibrated(logits, Calibration((0, 1, 2, 3, 4, 5), 1.5, 6, 1.0, 1.0, softening=0.1), gate=True)
    temperatures = 1.5 * np.exp(0.1 * logits[:, [6]])
    np.testing.assert_allclose(found.scores, softmax(logits[:, :6] / temperatures, axis=1), rtol=1e-5)


def test_a_gate_far_out_of_range_softens_no_further() -> None:
    logits = np.array([[4.0, 0, 0, 0, 0, 0, 3e38]], dtype=np.float32)
    found = calibrated(logits, Calibration((0, 1, 2, 3, 4, 5), 1.0, 6, 1.0, 1.0, softening=0.3), gate=True)
    np.testing.assert_allclose(found.scores, softmax(logits[:, :6] / np.exp(3.0), axis=1), rtol=1e-5)


def test_energy_is_that_of_the_emotions_logits_whatever_the_temperature() -> None:
    logits = np.array([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 9.0], [700.0, 0, 0, 0, 0, 0, 0]], dtype=np.float32)
    for temperature in (1.0, 1.7):
        found = calibrated(logits, Calibration((0, 1, 2, 3, 4, 5), temperature, 6, 2.0, 0.5), gate=True)
        assert np.allclose(found.energy, [np.log(np.exp(np.arange(1.0, 7.0)).sum()), 700.0])
    assert np.allclose(calibrated(logits[:, :6], PLAIN, gate=True).energy, found.energy)
