from __future__ import annotations

from xml.etree import ElementTree

import numpy as np
import pytest

from worker.replay.figures import calibration_bins, expected_calibration_error
from worker.replay.reliability import reliability_svg

SVG = "{http://www.w3.org/2000/svg}"
TRUTH = np.array([0, 0, 1, 1, 0])
PROBABILITIES = np.array([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [0.75, 0.25], [1.0, 0.0]])


def test_bins_by_hand() -> None:
    """Four answers of confidence 0.75 in the twelfth bin, half of them right; a certain one in the last."""
    bins = calibration_bins(TRUTH, PROBABILITIES)
    assert len(bins) == 15
    assert (bins[11].n, bins[11].accuracy, bins[11].confidence) == (4, 0.5, 0.75)
    assert (bins[14].n, bins[14].accuracy, bins[14].high) == (1, 1.0, 1.0)
    assert sum(one.n for one in bins) == 5
    assert (bins[0].accuracy, bins[0].confidence) == (0, 0)


def test_the_calibration_error_is_what_the_bins_show() -> None:
    rng = np.random.default_rng(0)
    truth, probabilities = rng.integers(0, 3, 500), rng.dirichlet([1, 1, 1], 500)
    bins = calibration_bins(truth, probabilities)
    shown = sum(one.n * abs(one.accuracy - one.confidence) for one in bins) / 500
    assert expected_calibration_error(truth, probabilities) == pytest.approx(shown)


def test_the_picture_shows_every_filled_bin() -> None:
    root = ElementTree.fromstring(reliability_svg(calibration_bins(TRUTH, PROBABILITIES), "a < b & c"))
    bars = [element for element in root.iter(f"{SVG}rect") if element.get("class") == "bar"]
    counts = [element.text for element in root.iter(f"{SVG}text") if element.get("class") == "n"]
    assert [float(bar.get("height", "")) for bar in bars] == [180.0, 360.0]
    assert counts == ["4", "1"]
    assert len(list(root.iter(f"{SVG}circle"))) == 2
    # Four answers are 0.25 too sure, one is as right as it is sure.
    assert [text.text for text in root.iter(f"{SVG}text")][:2] == ["a < b & c", "n = 5, ECE = 0.200"]


def test_a_dot_stands_at_its_confidence() -> None:
    root = ElementTree.fromstring(reliability_svg(calibration_bins(TRUTH, PROBABILITIES), "t"))
    first = next(root.iter(f"{SVG}circle"))
    assert float(first.get("cy", "")) == pytest.approx(44 + 360 * 0.25)
    assert float(first.get("cx", "")) == pytest.approx(56 + 360 * 11.5 / 15, abs=0.05)
