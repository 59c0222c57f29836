"""How large batches are, so that posts are labelled in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.stream.batch import BatchBuilder, Entry
from worker.stream.pace import Budget, CostCurve, Promise, fit, measure
from worker.types import Post, Record

CURVE = CostCurve(base_s=0.002, token_s=25e-6)
"""About that of MiniLM in 8 bits on two cores."""
TOKENS = 25


@given(st.floats(0, 0.01), st.floats(1e-7, 1e-3))
def test_a_line_is_found_again(base_s: float, token_s: float) -> None:
    curve = fit([(tokens, base_s + token_s * tokens) for tokens in (100, 400, 1600, 6400)])

    assert curve.seconds(1000) == pytest.approx(base_s + token_s * 1000, rel=1e-6)


def test_a_curve_is_never_below_zero() -> None:
    curve = fit([(100, 0.001), (400, 0.006), (1600, 0.03)])

    assert curve.base_s == 0
    assert curve.seconds(1) > 0


def test_a_model_without_cost_takes_any_number() -> None:
    assert fit([(100, 0.0), (400, 0.0)]).tokens(0.01) > 1_000_000


def test_the_fastest_of_some_tries_counts() -> None:
    ticks: Iterator[float] = iter([0.0, 5.0, 5.0, 6.0, 6.0, 9.0])
    seen: list[int] = []

    def classify(rows: Sequence[Sequence[int]]) -> None:
        seen.append(len(rows))

    found = measure(classify, [[1, 2], [3, 4, 5]], sizes=[3], monotonic=lambda: next(ticks))

    assert found == [(7, 1.0)]
    assert seen == [3, 3, 3]


def test_a_budget_is_always_the_same() -> None:
    budget = Budget(500)
    budget.took(500, 99.0)

    assert (budget.budget(0.0), budget.budget(3600.0)) == (500, 500)


def test_a_batch_gets_a_quarter_of_the_promise() -> None:
    assert CURVE.seconds(Promise(0.1, CURVE, 16_384).budget(0.0)) == pytest.approx(0.025, rel=0.01)


def test_the_budget_of_the_settings_bounds_it() -> None:
    assert Promise(60.0, CURVE, 16_384).budget(0.0) == 16_384


def test_a_promise_that_no_batch_can_keep_still_lets_one_post_through() -> None:
    assert Promise(0.004, CURVE, 16_384).budget(0.0) == 1


def test_what_comes_in_time_is_cut_and_what_comes_too_late_goes_together() -> None:
    pace = Promise(0.1, CURVE, 16_384)

    assert pace.budget(age_s=0.04) == pace.budget(0.0) < 2000
    assert pace.budget(age_s=0.06) == pace.budget(age_s=9.0) == 16_384


def test_a_machine_that_gets_slower_gets_smaller_batches() -> None:
    pace = Promise(0.1, CURVE, 16_384)
    before = pace.budget(0.0)
    for _ in range(50):
        pace.took(before, 2 * CURVE.seconds(before))
    slower = pace.budget(0.0)
    for _ in range(50):
        pace.took(before, CURVE.seconds(before))

    assert slower < 0.5 * before
    assert pace.budget(0.0) == pytest.approx(before, rel=0.02)


def test_one_odd_batch_changes_little() -> None:
    pace = Promise(0.1, CURVE, 16_384)
    before = pace.budget(0.0)
    pace.took(10, 3600.0)
    pace.took(0, 0.0)

    assert pace.budget(0.0) > 0.5 * before


@pytest.mark.parametrize("load", [0.5, 0.8, 0.95])
def test_simulated_posts_are_answered_in_time(load: float) -> None:
    """Posts by chance (Poisson) at a share of what the model can do in batches of the promise's size.

    The loop as it is: one batch in the model, one at its door, a batch goes when it is full or, while the
    model is idle, when its first post has waited. Kafka is not simulated: a tenth is left to it.
    """
    pace = Promise(0.1, CURVE, 16_384)
    fastest = pace.budget(0.0) / TOKENS / CURVE.seconds(pace.budget(0.0))
    waits = simulate(pace, rate=load * fastest, seconds=60.0, rng=np.random.default_rng(1))

    assert np.quantile(waits, 0.99) <= 0.09


def test_a_backlog_is_worked_off_and_the_promise_is_kept_again() -> None:
    pace = Promise(0.1, CURVE, 16_384)
    fastest = pace.budget(0.0) / TOKENS / CURVE.seconds(pace.budget(0.0))
    waits = simulate(pace, rate=0.8 * fastest, seconds=60.0, rng=np.random.default_rng(2), backlog=5000)

    assert waits[:5000].max() > 1.0
    assert np.quantile(waits[len(waits) // 2 :], 0.99) <= 0.09


def simulate(
    pace: Promise, *, rate: float, seconds: float, rng: np.random.Generator, backlog: int = 0
) -> np.ndarray:
    """Seconds from each post's arrival to its answer, in the order of arrival."""
    gaps = rng.exponential(1 / rate, int(rate * seconds))
    arrivals = np.concatenate([np.zeros(backlog), np.cumsum(gaps)])
    building = BatchBuilder(max_records=4096, pace=pace, linger_s=0.01)
    answered = np.zeros(len(arrivals))
    ends: list[float] = []  # of the batches in the model and at its door
    came, now = 0, 0.0
    while came < len(arrivals) or len(building):
        # As in the loop: nothing is fetched while a full batch waits.
        while came < len(arrivals) and arrivals[came] <= now and not building.full:
            at = float(arrivals[came])
            record = Record("tweets", 0, came, None, b"", int(at * 1000))
            building.add([Entry(record, Post(id=came, text="x"), None, [0] * TOKENS)], at)
            came += 1
        ends = [end for end in ends if end > now]
        due = building.full if ends else building.wait_s(now) == 0.0
        if due and len(ends) < 2:
            batch = building.take(now)
            cost_s = CURVE.seconds(batch.tokens)
            end = max(now, ends[-1] if ends else now) + cost_s
            pace.took(batch.tokens, cost_s)
            answered[[entry.record.offset for entry in batch.entries]] = end
            ends.append(end)
            continue
        now += 0.001
    waits: np.ndarray = answered - arrivals
    return waits
