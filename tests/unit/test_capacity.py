"""Workers for a rate, and delays at a load, against a simulation of the same queue."""

from __future__ import annotations

import random
from collections.abc import Iterable
from itertools import accumulate, dropwhile, repeat, takewhile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.bench.capacity import Costs, Turn, delays, needs, turn_posts

SCALING = (Path(__file__).parents[2] / "docs" / "SCALING.md").read_text(encoding="utf-8")
TURN = Turn(base_s=0.02, post_s=0.004, commit_s=0.015, linger_s=0.05, most=200)


def simulated(turn: Turn, gaps: Iterable[float]) -> list[float]:
    """Delays of posts that come with such gaps, one by one through the rules of the loop; sorted."""
    arrivals = list(accumulate(gaps))
    found: list[float] = []
    first, free, committed = 0, 0.0, 0.0
    while first < len(arrivals):
        start = max(free, arrivals[first] + turn.linger_s)
        last = first
        while last < len(arrivals) and arrivals[last] <= start and last - first < turn.most:
            last += 1
        answered = start + turn.base_s + turn.post_s * (last - first)
        free = max(answered, committed)  # the loop that commits is the one that submits
        committed = free + turn.commit_s
        found += [committed - came for came in arrivals[first:last]]
        first = last
    return sorted(found[len(found) // 5 :])


@pytest.mark.parametrize("load", [0.3, 0.5, 0.75, 0.9])
def test_delays_are_those_of_a_simulated_queue(load: float) -> None:
    rate = load * TURN.capacity
    seen = simulated(TURN, repeat(1 / rate, 20_000))
    said = delays(TURN, [rate])
    assert said.p50_s == pytest.approx(seen[len(seen) // 2], rel=0.12)  # small batches hold whole posts
    assert said.p99_s == pytest.approx(seen[len(seen) * 99 // 100], rel=0.12)


@pytest.mark.parametrize("load", [0.3, 0.5, 0.75, 0.9])
def test_posts_that_come_at_random_change_the_median_little_and_the_tail_by_half(load: float) -> None:
    rate, rng = load * TURN.capacity, random.Random(1)
    seen = simulated(TURN, (rng.expovariate(rate) for _ in range(20_000)))
    said = delays(TURN, [rate])
    assert said.p50_s == pytest.approx(seen[len(seen) // 2], rel=0.15)
    assert 1.0 < seen[len(seen) * 99 // 100] / said.p99_s < 1.6


def test_the_busiest_worker_makes_the_tail() -> None:
    alone, beside = delays(TURN, [180.0]), delays(TURN, [180.0, 20.0, 20.0])
    assert beside.p99_s == pytest.approx(alone.p99_s, rel=0.02)
    assert beside.p50_s < alone.p50_s
    assert delays(TURN, [100.0, 100.0]) == delays(TURN, [100.0, 0.0, 100.0])


def test_more_than_the_capacity_is_refused() -> None:
    assert TURN.capacity == pytest.approx(200 / 0.82)
    assert turn_posts(TURN, TURN.capacity * 0.999) <= TURN.most
    with pytest.raises(ValueError, match="more than the 243"):
        delays(TURN, [10.0, 250.0])
    with pytest.raises(ValueError, match="must be posts"):
        delays(TURN, [0.0])


@given(st.floats(1, 240), st.floats(0, 0.2))
def test_a_turn_is_a_fixed_point(rate: float, linger_s: float) -> None:
    turn = Turn(0.02, 0.004, 0.015, linger_s, 200)
    batch = turn_posts(turn, rate)
    at_least = rate * max(turn.base_s + turn.post_s * batch, turn.commit_s)
    assert batch == pytest.approx(200) or batch >= at_least * 0.999
    assert batch <= max(at_least, rate * linger_s + 1) * 1.001 or batch == 200


def test_needs_grow_with_the_rate_and_leave_room() -> None:
    costs = Costs()
    for rate in (500.0, 1_000.0, 50_000.0, 143_000.0, 1_000_000.0):
        found = needs(rate, costs, load=0.6, replicas=3)
        assert (
            found.workers * costs.labels_per_s * 0.6 >= rate > (found.workers - 1) * costs.labels_per_s * 0.6
        )
        assert found.partitions >= 2 * found.workers
        assert found.brokers >= 3
        assert found.kafka_mb_per_s == pytest.approx(rate * 750 * 3 / 1e6, rel=0.01, abs=0.06)


def test_a_fast_gpu_is_bound_by_the_host() -> None:
    fast = Costs(labels_per_s=600_000)
    assert needs(280_000, fast, load=1.0, replicas=3).workers == 10


@pytest.mark.parametrize(("rate", "load", "replicas"), [(0, 0.5, 3), (10, 0, 3), (10, 1.2, 3), (10, 0.5, 0)])
def test_what_makes_no_sense_is_refused(rate: float, load: float, replicas: int) -> None:
    with pytest.raises(ValueError, match="posts_per_s above 0"):
        needs(rate, Costs(), load=load, replicas=replicas)


def table(after: str) -> list[list[str]]:
    """The cells of the first table of docs/SCALING.md behind some words, without its head."""
    lines = SCALING.partition(after)[2].splitlines()
    rows = list(takewhile(lambda line: line.startswith("|"), dropwhile(lambda line: line[:1] != "|", lines)))
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in rows[2:]]


def test_the_documented_plan_is_what_the_arithmetic_says() -> None:
    rows = table("## What a rate needs")
    assert len(rows) == 4
    for row in rows:
        found = needs(float(row[0].replace(",", "")), Costs(), load=0.6, replicas=3)
        counts = (found.workers, found.partitions, found.trends, found.redis, found.brokers)
        sizes = (f"{found.kafka_mb_per_s:,.1f}", f"{found.kafka_tb_per_week:,.1f}")
        assert row[1:] == [*(f"{n:,}" for n in counts), *sizes, f"{found.price_per_million:.3f}"]


def test_the_documented_delays_are_what_the_arithmetic_says() -> None:
    for load, *said in table("## How long posts take"):
        found = delays(TURN, [float(load.rstrip("%")) / 100 * TURN.capacity])
        assert said == [f"{found.batch:.0f}", f"{found.p50_s * 1000:.0f} ms", f"{found.p99_s * 1000:.0f} ms"]
