"""How large batches are, so that posts are labelled in time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import cast

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clock import Clock
from worker.model.classifier import Classifier
from worker.settings import BatchSettings, Settings
from worker.stream.batch import BatchBuilder, Entry
from worker.stream.pace import Budget, CostCurve, Promise, fit, measure
from worker.stream.role import promised_pace
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


def test_a_promise_that_no_batch_can_keep_gets_batches_worth_their_time() -> None:
    assert Promise(0.004, CURVE, 16_384).budget(0.0) == CURVE.worthwhile(0.1)
    assert Promise(0.004, CURVE, 100).budget(0.0) == 100


def test_what_comes_too_late_shares_more_but_never_all_that_waits() -> None:
    """With all of it in one batch, as much again would wait when it is done: late for ever."""
    pace = Promise(0.1, CURVE, 16_384)

    in_time, late = pace.budget(age_s=0.04), pace.budget(age_s=0.06)

    assert pace.budget(0.0) == in_time < late == pace.budget(age_s=9.0) < 16_384
    assert CURVE.base_s / CURVE.seconds(late) == pytest.approx(0.05, rel=0.01)


def test_a_machine_that_gets_slower_gets_smaller_batches() -> None:
    pace = Promise(0.1, CURVE, 16_384)
    before = pace.budget(0.0)
    for _ in range(50):
        pace.took(before, 2 * CURVE.seconds(before))
    slower = pace.budget(0.0)
    for _ in range(50):
        pace.took(before, CURVE.seconds(before))

    assert slower < before
    assert pace.budget(0.0) == pytest.approx(before, rel=0.02)


def test_a_slow_machine_never_makes_batches_a_waste() -> None:
    pace = Promise(0.1, CURVE, 16_384)
    for _ in range(100):
        pace.took(1000, 1.0)

    assert CURVE.base_s / CURVE.seconds(pace.budget(0.0)) == pytest.approx(0.1, rel=0.01)


def test_one_odd_batch_changes_little() -> None:
    pace = Promise(0.1, CURVE, 16_384)
    before = pace.budget(0.0)
    pace.took(10, 3600.0)
    pace.took(0, 0.0)

    assert pace.budget(0.0) > 0.5 * before


@pytest.mark.parametrize(("slo_ms", "kept"), [(1000.0, True), (10.0, False)])
def test_the_model_is_measured_at_start(slo_ms: float, kept: bool, caplog: pytest.LogCaptureFixture) -> None:
    class Slow:
        """A model of a known cost, on a clock of its own."""

        now = 0.0

        def prepare(self, texts: Sequence[str]) -> list[list[int]]:
            return [[1] * TOKENS for _ in texts]

        def classify(self, rows: Sequence[Sequence[int]]) -> None:
            self.now += CURVE.seconds(sum(map(len, rows)))

        def monotonic(self) -> float:
            return self.now

    slow = Slow()
    settings = Settings(batch=BatchSettings(slo_ms=slo_ms))

    with caplog.at_level("WARNING"):
        pace = promised_pace(settings, cast(Classifier, slow), cast(Clock, slow))

    assert pace is not None
    expected = CURVE.tokens(0.25) if kept else CURVE.worthwhile(0.1)
    assert pace.budget(0.0) == pytest.approx(expected, rel=0.01)
    assert ("too short" in caplog.text) is not kept


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


def test_a_burst_at_a_load_that_is_served_in_time_is_soon_forgotten() -> None:
    pace = Promise(0.1, CURVE, 16_384)
    waits = simulate(pace, rate=500.0, seconds=10.0, rng=np.random.default_rng(3), backlog=500)

    assert np.quantile(waits[1000:], 0.99) <= 0.09


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
