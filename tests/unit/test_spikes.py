"""Baselines and verdicts on arrays that are easy to work out, and a month of traffic with planted spikes."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.support.spikes import detect, simulate
from worker.trends.alerts.baseline import (
    DAY,
    LAST_HOURS,
    NOTHING,
    SAME_HOUR_OF_DAY,
    SAME_HOUR_OF_WEEK,
    WEEK,
    History,
    Usual,
    _median,
    hours_of_history,
    usual,
)
from worker.trends.alerts.judge import Expected, Places, Rules, Verdict, expected, judge
from worker.trends.alerts.series import Series, all_series

Floats = NDArray[np.float64]
RULES = Rules(min_posts=50, min_ratio=2, min_deviations=4.5)
JOY, ALL_POSTS = Series(None, "joy"), Series()


def history(part: Floats, whole: Floats, **more: NDArray[np.bool_]) -> History:
    """One series."""
    there = np.ones_like(part, dtype=np.bool_)
    given_ = {"known": there, "comparable": there, **more}
    return History(part[None], whole[None], given_["known"][None], given_["comparable"][None])


def daily(hours: int, *, low: float = 100, high: float = 1000) -> Floats:
    """A day that swings between these, hour by hour."""
    return np.asarray(
        low + (high - low) * (1 + np.sin(2 * np.pi * np.arange(hours) / 24)) / 2, dtype=np.float64
    )


class TestBaseline:
    def test_the_same_hour_of_the_week_comes_first(self) -> None:
        weekly = np.tile(np.arange(WEEK, dtype=np.float64) + 100, 5)
        found = usual(history(weekly / 10, weekly), 4)

        assert found.whole == pytest.approx([100], rel=0.01)  # the first hour of the next week
        assert found.odds == pytest.approx([0.1 / 0.9], rel=0.02)
        assert found.whole_tier == SAME_HOUR_OF_WEEK

    @pytest.mark.parametrize(
        ("hours", "tier"),
        [
            (5, NOTHING), (6, LAST_HOURS), (2 * DAY, LAST_HOURS), (3 * DAY, SAME_HOUR_OF_DAY),
            (2 * WEEK, SAME_HOUR_OF_DAY), (3 * WEEK, SAME_HOUR_OF_WEEK),
        ],
    )  # fmt: skip
    def test_with_less_history_there_is_a_next_best(self, hours: int, tier: int) -> None:
        whole = np.full(hours, 200.0)
        found = usual(history(whole / 4, whole), 4)

        assert [*found.whole_tier, *found.odds_tier] == [tier, tier]
        if tier == NOTHING:
            assert np.isnan(found.whole).all()
            assert np.isnan(found.odds).all()
        else:
            assert found.whole == pytest.approx([200], rel=0.01)

    def test_the_same_hour_of_the_day_follows_the_day(self) -> None:
        whole = daily(6 * DAY + 10)
        found = usual(history(whole / 5, whole), 4)

        assert found.whole == pytest.approx([daily(DAY)[10]], rel=0.01)

    def test_one_spike_in_four_weeks_moves_nothing(self) -> None:
        whole = np.full(5 * WEEK, 300.0)
        part = whole / 6
        quiet = usual(history(part, whole), 4)
        loud = part.copy()
        loud[-WEEK] *= 4
        found = usual(history(loud, whole + loud - part), 4)

        assert found.odds == pytest.approx(quiet.odds, rel=0.02)
        assert found.whole == pytest.approx(quiet.whole, rel=0.02)

    def test_growth_is_followed_within_a_day(self) -> None:
        whole = daily(4 * WEEK)
        whole[-DAY:] *= 3
        found = usual(history(whole / 5, whole), 4)

        assert found.whole == pytest.approx([3 * daily(1)[0]], rel=0.02)

    def test_hours_that_were_not_counted_say_nothing(self) -> None:
        whole = np.full(2 * WEEK, 300.0)
        known = np.ones(2 * WEEK, dtype=np.bool_)
        whole[-10:], known[-10:] = 0, False
        found = usual(history(whole / 5, whole, known=known), 4)

        assert found.whole == pytest.approx([300], rel=0.02)

    def test_an_hour_without_posts_does_not_make_a_share_of_a_half(self) -> None:
        whole = np.tile([0.0] * 12 + [400.0] * 12, 14)
        found = usual(history(whole / 20, whole), 4)

        assert found.odds == pytest.approx([1 / 19], rel=0.1)

    def test_noise_is_measured_beyond_that_of_counting(self) -> None:
        rng = np.random.default_rng(1)
        steady = rng.poisson(400, 5 * WEEK).astype(np.float64)
        noisy = rng.poisson(400 * rng.gamma(1 / 0.3**2, 0.3**2, 5 * WEEK)).astype(np.float64)
        least = usual(history(steady / 5, steady), 4).whole_spread
        much = usual(history(noisy / 5, noisy), 4).whole_spread

        assert np.sqrt(least) == pytest.approx([0.05], abs=0.02)
        assert 0.25 < np.sqrt(much[0]) < 0.5  # the noise of the hour, and of the four it is compared with

    @given(
        st.lists(st.lists(st.none() | st.floats(-1e6, 1e6), min_size=6, max_size=6), min_size=1, max_size=5)
    )
    def test_the_median_is_numpys(self, rows: list[list[float | None]]) -> None:
        values = np.array([[np.nan if value is None else value for value in row] for row in rows])
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # rows of nothing
            wanted = np.nanmedian(values, axis=1)

        assert _median(values).tolist() == pytest.approx(wanted.tolist(), nan_ok=True)


class TestNewModel:
    HOURS = 4 * WEEK

    def shifted(self, since: int) -> tuple[Floats, Floats, NDArray[np.bool_]]:
        """A share that follows the day; the model of the last `since` hours sees twice the odds."""
        whole = np.full(self.HOURS, 10_000.0)
        odds = 0.1 * np.exp(0.8 * np.sin(2 * np.pi * np.arange(self.HOURS) / 24))
        new = np.arange(self.HOURS) >= self.HOURS - since
        odds = np.where(new, 2 * odds, odds)
        return whole * odds / (1 + odds), whole, new

    def test_until_it_has_labelled_some_hours_shares_are_unknown_and_counts_are_not(self) -> None:
        part, whole, new = self.shifted(5)
        found = usual(history(part, whole, comparable=new), 4)

        assert np.isnan(found.odds).all()
        assert found.whole == pytest.approx([10_000], rel=0.01)

    @pytest.mark.parametrize("since", [6, 30, 8 * DAY])
    def test_then_its_difference_is_taken_out_and_the_day_is_kept(self, since: int) -> None:
        part, whole, new = self.shifted(since)
        found = usual(history(part, whole, comparable=new), 4)

        assert found.odds == pytest.approx([0.2], rel=0.03)

    def test_taken_for_the_old_one_it_looks_like_a_mood(self) -> None:
        """What the whole thing is for: without it the first hour would be judged by the old share."""
        part, whole, _ = self.shifted(1)

        assert usual(history(part, whole), 4).odds == pytest.approx([0.1], rel=0.1)


def row(whole: float, share: float, *, spread: float = 0.01) -> Usual:
    """The usual hour of all posts and of each emotion, joy having `share` and the others 0.1."""
    series = list(all_series(()))
    shares = np.array([share if one == JOY else 0.1 for one in series])
    n, first = len(series), np.full(len(series), SAME_HOUR_OF_WEEK)
    return Usual(
        np.full(n, whole), shares / (1 - shares), np.full(n, spread), np.full(n, spread), first, first
    )


class TestJudge:
    SERIES = tuple(all_series(()))
    PLACES = Places.of(SERIES)

    def judged(self, joy: float, whole: float, *, hour: Usual | None = None, rules: Rules = RULES) -> Verdict:
        """A whole hour in which joy has so many posts, and the other emotions a tenth each."""
        part = np.array([whole if one.is_all else joy if one == JOY else whole / 10 for one in self.SERIES])
        usually = expected([(1.0, hour or row(1000, 0.2))], self.PLACES)
        return judge(part, np.full(len(part), whole), usually, self.PLACES, rules)

    def spikes(self, joy: float, whole: float, **more: object) -> set[Series]:
        verdict = self.judged(joy, whole, **more)  # type: ignore[arg-type]
        return {self.SERIES[at] for at in np.flatnonzero(verdict.spike)}

    def test_three_times_the_posts_is_one(self) -> None:
        assert self.spikes(600, 1400) == {JOY}
        verdict = self.judged(600, 1400)
        at = self.SERIES.index(JOY)
        assert verdict.ratio[at] == pytest.approx(3)
        assert (verdict.baseline[at], verdict.share_baseline[at]) == pytest.approx((200, 0.2))

    def test_a_usual_hour_is_none(self) -> None:
        assert self.spikes(200, 1000) == set()

    def test_a_general_rise_is_one_of_the_volume_and_of_no_emotion(self) -> None:
        assert self.spikes(600, 3000) == {ALL_POSTS}

    def test_where_the_others_fall_silent_is_none(self) -> None:
        assert self.spikes(200, 300) == set()

    def test_few_posts_are_none(self) -> None:
        small = row(20, 0.2)
        assert JOY not in self.spikes(49, 65, hour=small)
        assert JOY in self.spikes(51, 67, hour=small)

    def test_less_than_the_ratio_is_none(self) -> None:
        steady = row(100_000, 0.2, spread=0.0025)
        assert JOY not in self.spikes(38_000, 118_000, hour=steady)
        assert JOY in self.spikes(45_000, 125_000, hour=steady)

    def test_what_is_noisy_must_rise_further(self) -> None:
        noisy = row(1000, 0.2, spread=0.25)
        assert self.spikes(600, 1400, hour=noisy) == set()

    def test_an_emotion_that_makes_the_volume_rise_is_told_once(self) -> None:
        assert self.spikes(1500, 2300) == {JOY}
        assert self.spikes(5000, 8500) == {JOY, ALL_POSTS}  # that is more than joy alone

    def test_volume_waits_for_three_days_and_emotions_for_hours(self) -> None:
        hour = row(1000, 0.2)
        last_hours = np.full_like(hour.whole_tier, LAST_HOURS)
        young = hour._replace(whole_tier=last_hours, odds_tier=last_hours)
        assert self.spikes(600, 1400, hour=young) == {JOY}
        assert self.spikes(600, 3000, hour=young) == set()
        nothing = np.full_like(hour.whole_tier, NOTHING)
        assert self.spikes(600, 1400, hour=hour._replace(odds_tier=nothing)) == set()

    def test_a_window_over_two_hours_has_its_part_of_each(self) -> None:
        usually: Expected = expected([(0.25, row(1000, 0.2)), (0.25, row(3000, 0.2))], self.PLACES)
        at = self.SERIES.index(JOY)
        assert (usually.whole[at], usually.part[at]) == pytest.approx((1000, 200))

    def test_a_query_is_judged_among_all_posts(self) -> None:
        series = list(all_series(["brand"]))
        places = Places.of(series)
        assert places.parent[series.index(Series("brand", "fear"))] == series.index(Series("brand"))
        assert [one.key for one in series[7:9]] == ["volume/all/brand", "emotion/sadness/brand"]


def test_history_covers_what_usual_values_come_from() -> None:
    assert hours_of_history(4) == 5 * WEEK


@pytest.mark.slow
@pytest.mark.parametrize("seed", [100, 101])
def test_a_month_with_thirty_planted_spikes(seed: int) -> None:
    """Seeds that no parameter was chosen with. Growth, rises, an outage and a new model are in it."""
    month = simulate(seed)
    outcome = detect(month)

    assert len(month.spikes) == 30
    assert len(outcome.found) >= 0.95 * 30, [spike for spike in month.spikes if spike not in outcome.found]
    assert len(outcome.false) <= 2, outcome.false
    assert np.median(outcome.delays) * 5 <= 30  # minutes


def test_a_month_without_spikes_has_hardly_an_alert() -> None:
    outcome = detect(simulate(102, spikes=0, warm_days=21, days=7))

    assert len(outcome.false) <= 2, outcome.false
