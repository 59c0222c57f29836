"""Two months of posts with everything that real traffic does, and spikes planted in the second one.

Seasons of day and week, growth, loud and quiet days, more noise than Poisson's, rises of all traffic, an
outage and a change of the model are there to be mistaken for spikes; see `simulate`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.trends.alerts.baseline import History, Usual, hours_of_history, usual
from worker.trends.alerts.judge import Places, Rules, expected, judge
from worker.trends.alerts.series import Series, all_series
from worker.types import EMOTIONS

Floats = NDArray[np.float64]
STEPS_PER_HOUR = 12
WINDOW = 6
"""Steps of five minutes: half an hour."""
RULES = Rules(min_posts=50, min_ratio=2.0, min_deviations=4.5)
COOLDOWN = 6 * STEPS_PER_HOUR
QUERIES = {"brand": 0.06, "team": 0.03, "film": 0.012}
"""Their share of all posts."""
SHARES = np.array([0.12, 0.25, 0.05, 0.13, 0.05, 0.04, 0.36])
"""Of the six emotions and neutral."""
LEAST = 25
"""Posts that half an hour of a series has at least, where a spike is planted."""


class Planted(NamedTuple):
    """One spike: three times the usual posts."""

    series: Series
    start: int
    """Steps since the beginning."""
    end: int


@dataclass
class Month:
    """Counts per step, and what was done to them."""

    series: list[Series]
    part: Floats
    """(S, T)"""
    whole: Floats
    warm: int
    """Steps before the month."""
    spikes: list[Planted]
    rises: list[tuple[int, int]]
    """Spans in which all traffic is three times as much: `volume` of all posts may say so."""
    outage: tuple[int, int]
    new_model: int


@dataclass
class Outcome:
    """What was found."""

    found: set[Planted] = field(default_factory=set)
    false: list[tuple[Series, int]] = field(default_factory=list)
    delays: list[int] = field(default_factory=list)
    """Steps from the beginning of each spike to its alert."""


def simulate(
    seed: int, *, warm_days: int = 28, days: int = 30, spikes: int = 30, per_hour: float = 6000
) -> Month:
    """A month after `warm_days` of history; a spike falls into the warm days by chance of noise only."""
    rng = np.random.default_rng(seed)
    hours = (warm_days + days) * 24
    warm = warm_days * 24 * STEPS_PER_HOUR
    series = list(all_series(QUERIES))
    rates = _rates(rng, hours, per_hour)
    steps = {name: np.repeat(rate, STEPS_PER_HOUR, axis=1) / STEPS_PER_HOUR for name, rate in rates.items()}
    rises = _rises(rng, warm, hours * STEPS_PER_HOUR)
    for start, end in rises:
        for rate in steps.values():
            rate[:, start:end] *= 3
    new_model = warm + int(0.6 * days * 24) * STEPS_PER_HOUR
    for rate in steps.values():  # the new one calls much anger that was none, and less joy
        rate[3, new_model:] *= 2.5
        rate[1, new_model:] *= 0.6
    start = warm + int(0.3 * days * 24) * STEPS_PER_HOUR
    outage = (start, start + 3 * STEPS_PER_HOUR)
    blind = (new_model - WINDOW, new_model + 8 * STEPS_PER_HOUR)  # emotions are not judged then
    planted = _plant(rng, series, steps, warm, spikes, [*rises, outage, blind])
    counts = {name: rng.poisson(rate).astype(float) for name, rate in steps.items()}
    for each in counts.values():
        each[:, outage[0] : outage[1]] = 0
    part, whole = _arranged(series, counts)
    return Month(series, part, whole, warm, planted, rises, outage, new_model)


def _rates(rng: np.random.Generator, hours: int, per_hour: float) -> dict[str, Floats]:
    """(7, hours) posts an hour by emotion: of each query, and of the posts that match none."""
    t = np.arange(hours)
    day = np.exp(0.8 * np.sin(2 * np.pi * (t - 9) / 24) + 0.25 * np.sin(4 * np.pi * (t - 7) / 24))
    week = np.where((t // 24) % 7 >= 5, 0.65, 1.0)
    growth = 1.04 ** (t / 168)
    traffic = (
        per_hour * day * week * growth * np.exp(np.repeat(rng.normal(0, 0.08, hours // 24 + 1), 24)[:hours])
    )
    evening = np.sin(2 * np.pi * (t - 15) / 24)
    tilt = np.array([0.1, -0.05, 0.2, 0.1, 0.15, 0.0, -0.05])[:, None] * evening
    drift = np.cumsum(rng.normal(0, 0.004, (7, hours)), axis=1)

    def noisy(rate: Floats, cv: float) -> Floats:
        return rate * rng.gamma(1 / cv**2, cv**2, rate.shape)

    found = {}
    for name, share in {"": 1 - sum(QUERIES.values()), **QUERIES}.items():
        own = SHARES[:, None] * np.exp(tilt + drift + rng.normal(0, 0.3, (7, 1)) * (name != ""))
        own = own / own.sum(axis=0)
        found[name] = noisy(noisy(traffic * share, 0.1)[None, :] * own, 0.1)
    return found


def _rises(rng: np.random.Generator, warm: int, end: int) -> list[tuple[int, int]]:
    starts = warm + (np.arange(4) + rng.uniform(0.2, 0.8, 4)) * (end - warm) / 4
    return [(int(start), int(start) + 2 * STEPS_PER_HOUR) for start in starts]


def _plant(
    rng: np.random.Generator,
    series: list[Series],
    steps: dict[str, Floats],
    warm: int,
    n: int,
    free_of: list[tuple[int, int]],
) -> list[Planted]:
    """Three times the posts of one series over 45 minutes to three hours, a day apart within a query."""
    planted: list[Planted] = []
    end = steps[""].shape[1] - 4 * STEPS_PER_HOUR
    choices = [one for one in series if not one.is_all]
    while len(planted) < n:
        one = choices[rng.integers(len(choices))]
        start = int(rng.integers(warm, end))
        spike = Planted(one, start, start + int(rng.integers(9, 3 * STEPS_PER_HOUR)))
        near = any(
            other.series.query == one.query and abs(other.start - start) < 24 * STEPS_PER_HOUR
            for other in planted
        )
        taken = any(first < spike.end and start < last for first, last in free_of)
        if near or taken or _usual_posts(one, steps, start) < LEAST:
            continue
        _raise(one, steps, slice(spike.start, spike.end))
        planted.append(spike)
    return planted


def _usual_posts(one: Series, steps: dict[str, Floats], start: int) -> float:
    rows = slice(None) if one.emotion is None else [EMOTIONS.index(one.emotion)]
    names = steps if one.query is None else [one.query]
    return float(sum(steps[name][rows, start : start + WINDOW].sum() for name in names))


def _raise(one: Series, steps: dict[str, Floats], span: slice) -> None:
    if one.query is not None:
        rows = (
            slice(None) if one.emotion is None else slice(*(EMOTIONS.index(one.emotion) + i for i in (0, 1)))
        )
        steps[one.query][rows, span] *= 3
        return
    assert one.emotion is not None
    row = EMOTIONS.index(one.emotion)  # only posts that match no query, or its spike would be one of theirs
    steps[""][row, span] += 2 * sum(rate[row, span] for rate in steps.values())


def _arranged(series: list[Series], counts: dict[str, Floats]) -> tuple[Floats, Floats]:
    everything = sum(counts.values())
    assert isinstance(everything, np.ndarray)
    part, whole = [], []
    for query, emotion in series:
        of = everything if query is None else counts[query]
        part.append(of.sum(axis=0) if emotion is None else of[EMOTIONS.index(emotion)])
        whole.append((everything if emotion is None else of).sum(axis=0))
    return np.array(part), np.array(whole)


def detect(month: Month, *, weeks: int = 4, rules: Rules = RULES, since: int | None = None) -> Outcome:
    """Judge every window of the month as the role does; cooldown included."""
    outcome, n_steps = Outcome(), month.part.shape[1]
    places = Places.of(month.series)
    hourly = _Hourly(month, weeks)
    quiet_until = np.zeros(len(month.series))
    sums_part, sums_whole = (
        np.cumsum(np.pad(a, ((0, 0), (1, 0))), axis=1) for a in (month.part, month.whole)
    )
    for end in range((month.warm if since is None else since) + WINDOW, n_steps + 1):
        start = end - WINDOW
        part, whole = sums_part[:, end] - sums_part[:, start], sums_whole[:, end] - sums_whole[:, start]
        hours = [
            (
                (min(end, (hour + 1) * STEPS_PER_HOUR) - max(start, hour * STEPS_PER_HOUR)) / STEPS_PER_HOUR,
                hour,
            )
            for hour in range(start // STEPS_PER_HOUR, -(-end // STEPS_PER_HOUR))
        ]
        usually = expected([(fraction, hourly.usual(hour)) for fraction, hour in hours], places)
        verdict = judge(part, whole, usually, places, rules)
        mixed = month.new_model - STEPS_PER_HOUR < end < month.new_model + STEPS_PER_HOUR
        for row in np.flatnonzero(verdict.spike & (quiet_until <= end)):
            if mixed and not places.volume[row]:
                continue
            quiet_until[row] = end + COOLDOWN
            _score(month, outcome, month.series[row], start, end)
    return outcome


def _score(month: Month, outcome: Outcome, series: Series, start: int, end: int) -> None:
    for spike in month.spikes:
        if spike.series == series and start < spike.end and spike.start < end:
            if spike not in outcome.found:
                outcome.delays.append(end - spike.start)
            outcome.found.add(spike)
            return
    if series.is_all and any(start < last and first < end for first, last in month.rises):
        return
    outcome.false.append((series, end))


class _Hourly:
    """The usual values of each hour, made once."""

    def __init__(self, month: Month, weeks: int) -> None:
        self._month, self._weeks = month, weeks
        shape = (len(month.series), -1, STEPS_PER_HOUR)
        self._part, self._whole = (a.reshape(shape).sum(axis=2) for a in (month.part, month.whole))
        self._known = np.broadcast_to(self._whole[0] > 0, self._whole.shape)
        self._volume = np.array([one.emotion is None for one in month.series])[:, None]
        self._made: dict[int, Usual] = {}

    def usual(self, hour: int) -> Usual:
        if hour not in self._made:
            span = slice(max(0, hour - hours_of_history(self._weeks)), hour)
            new = self._month.new_model // STEPS_PER_HOUR
            same_model = (np.arange(span.start, span.stop) >= new) == (hour >= new)
            self._made[hour] = usual(
                History(
                    self._part[:, span], self._whole[:, span], self._known[:, span], same_model | self._volume
                ),
                self._weeks,
            )
        return self._made[hour]
