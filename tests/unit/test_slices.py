"""Slices: a pure function of the label, of the size asked for, and never of who looks."""

from __future__ import annotations

import subprocess
import sys
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.slices import Review, draw, margin
from worker.types import Scores


class Answer:
    def __init__(self, input: str, scores: Scores, neutral: float = 0.0) -> None:  # noqa: A002
        self.input, self.scores, self.neutral = input, scores, neutral


SURE = Scores(0.9, 0.02, 0.02, 0.02, 0.02, 0.02)
UNSURE = Scores(0.35, 0.3, 0.15, 0.1, 0.05, 0.05)
INPUTS = [f"tweets/{number % 12}/{number}" for number in range(20_000)]


@pytest.mark.parametrize("share", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_the_random_slice_is_as_large_as_asked_for(share: float) -> None:
    chosen = sum(draw(name) < share for name in INPUTS)

    deviation = (len(INPUTS) * share * (1 - share)) ** 0.5
    assert abs(chosen - len(INPUTS) * share) <= 4 * deviation


@pytest.mark.parametrize("share", [0.0, 2.0**-64, 0.01, 0.5, 1.0])
def test_it_is_what_is_drawn_below_the_share(share: float) -> None:
    review = Review(share, 0.0)
    for name in INPUTS:
        assert ("random" in review.slices(Answer(name, SURE))) == (draw(name) < share)


def test_neighbours_are_drawn_independently() -> None:
    draws = [draw(name) for name in INPUTS]
    both = sum(a < 0.5 and b < 0.5 for a, b in pairwise(draws))

    assert both / len(draws) == pytest.approx(0.25, abs=0.02)


def test_another_process_draws_the_same() -> None:
    """Python's own hash() would not."""
    code = "from worker.slices import draw; print(draw('tweets/3/1841'))"
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert float(said.stdout) == draw("tweets/3/1841")


def test_a_larger_share_holds_every_label_of_a_smaller_one() -> None:
    small, large = Review(0.05, 0.0), Review(0.2, 0.0)
    chosen = [name for name in INPUTS if "random" in small.slices(Answer(name, SURE))]

    assert chosen
    assert all("random" in large.slices(Answer(name, SURE)) for name in chosen)


@pytest.mark.parametrize(
    ("scores", "neutral", "expected"),
    [
        (UNSURE, 0.0, 0.05),
        (SURE, 0.0, 0.88),
        (UNSURE, 0.98, 0.98 - 0.02 * 0.35),  # surely neutral, whatever the emotions say
        (SURE, 0.5, 0.5 - 0.45),  # the gate hesitates
        (Scores(1.0, 0.0, 0.0, 0.0, 0.0, 0.0), 0.0, 1.0),
    ],
)
def test_the_margin_is_that_of_the_seven_answers(scores: Scores, neutral: float, expected: float) -> None:
    assert margin(scores, neutral) == pytest.approx(expected)


@given(st.lists(st.floats(0.001, 1.0), min_size=6, max_size=6), st.floats(0, 1))
def test_a_margin_lies_between_0_and_1(weights: list[float], neutral: float) -> None:
    total = sum(weights)

    assert 0 <= margin(Scores(*(weight / total for weight in weights)), neutral) <= 1


def test_a_label_may_belong_to_both_slices_or_to_none() -> None:
    everything, nothing = Review(1.0, 0.2), Review(0.0, 0.2)

    assert list(everything.slices(Answer("tweets/0/1", UNSURE))) == ["random", "low_margin"]
    assert list(everything.slices(Answer("tweets/0/1", SURE))) == ["random"]
    assert list(nothing.slices(Answer("tweets/0/1", SURE))) == []
