"""What is offered for review is a fair draw of the whole window, whatever its hours hold."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from worker.trends.sampling import in_turn, rank_of
from worker.trends.store import Sample

KEPT = 20


def post(number: int, hour: int) -> Sample:
    return Sample(
        id=number,
        label="joy",
        score=0.9,
        created_at=datetime(2026, 1, 1, hour, tzinfo=UTC),
        source="web",
        input=f"tweets/{hour}/{number}",
        label_ref=f"emotion-labels/{hour}/{number}",
    )


def rank(sample: Sample) -> int:
    return rank_of(sample.input)


@pytest.mark.parametrize("posts_of_hours", [[5, 8], [400, 4000, 40], [4000] * 6, [1, 20, 21, 100_000]])
def test_what_is_offered_is_all_that_the_hours_had_up_to_a_rank(posts_of_hours: list[int]) -> None:
    hours = [[post(number, hour) for number in range(n)] for hour, n in enumerate(posts_of_hours)]
    kept = [sorted(hour, key=rank)[:KEPT] for hour in hours]
    full = [rank(hour[-1]) for hour in kept if len(hour) == KEPT]
    offered = in_turn((sample for hour in kept for sample in hour), full, 1000)
    everything = sorted((sample for hour in hours for sample in hour), key=rank)
    assert offered == everything[: len(offered)]
    assert len(offered) >= min(KEPT, len(everything))


def test_no_more_than_is_asked_for_and_those_first() -> None:
    samples = [post(number, 0) for number in range(10)]
    assert in_turn(samples, [], 3) == sorted(samples, key=rank)[:3]
    assert in_turn([], [], 3) == []
