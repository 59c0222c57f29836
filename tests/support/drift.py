"""Weeks of labels with all that real traffic does, and at their end a mood or a model that has gone wrong.

Traffic and moods are those of `tests.support.spikes`. How sure a model is, how long posts are and in which
language follows the time of day and week, wanders, and is noisier than counting alone from hour to hour.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tests.support.labels import NOON
from tests.support.spikes import STEPS_PER_HOUR, _rates
from worker.distribution import COLUMNS, CONFIDENCE_EDGES, MEASURES, SHAPE, Measure
from worker.slices import Slice
from worker.trends.shapes import STEP, Spread
from worker.trends.store import ALL, Filter, Sample
from worker.trends.terms import Term, TermKind
from worker.trends.windows import HOUR, Trend, Window
from worker.types import EMOTIONS, LABELS, LabelName

Floats = NDArray[np.float64]
Kind = Literal["steady", "mood", "swing", "collapse", "blur", "conviction", "version"]
MOODS: tuple[Kind, ...] = ("mood", "swing")
REGRESSIONS: tuple[Kind, ...] = ("collapse", "blur", "conviction", "version")

OLD, NEW = "default@1", "default@2"


@dataclass
class Stream:
    """Counts per five minutes from `start` on."""

    start: int
    """Epoch seconds, a whole hour."""
    labels: Floats
    """(7, T)"""
    spreads: dict[str, NDArray[np.int64]]
    """(T, 7, columns) by model."""
    kind: Kind
    at: int
    """When the planted thing begins, epoch seconds."""
    until: int
    emotion: str = ""
    notes: dict[str, float] = field(default_factory=dict)


def stream(seed: int, kind: Kind, *, days: int = 28, after_hours: int = 16, per_hour: float = 6000) -> Stream:
    """`days` of usual hours; then, at some five minutes of the next three hours, what is planted."""
    rng = np.random.default_rng(seed)
    hours = days * 24 + after_hours
    rates = sum(_rates(rng, hours, per_hour).values())
    assert isinstance(rates, np.ndarray)
    steps = np.repeat(rates, STEPS_PER_HOUR, axis=1) / STEPS_PER_HOUR
    labels = rng.poisson(steps).astype(np.int64)
    shares = {measure: _shares(rng, measure, hours) for measure in MEASURES}
    begin = (days * 24) * STEPS_PER_HOUR + int(rng.integers(0, 3 * STEPS_PER_HOUR))
    start = NOON - (NOON % (7 * 24 * HOUR)) - hours * HOUR
    made = Stream(start, labels.astype(np.float64), {}, kind, start + begin * STEP, start + hours * HOUR)
    row = int(rng.integers(len(EMOTIONS)))
    made.emotion = EMOTIONS[row]
    plain = _drawn(rng, labels, shares)
    made.spreads = {OLD: plain}
    if kind in MOODS:
        _mood(rng, made, shares, begin, row)
    elif kind in REGRESSIONS:
        _regress(rng, made, shares, begin, row)
    every = sum(made.spreads.values(), np.zeros_like(plain))
    made.labels = every[..., COLUMNS["confidence"]].sum(axis=2).T.astype(np.float64)
    return made


def _shares(rng: np.random.Generator, measure: Measure, hours: int) -> Floats:
    """(7, bins, hours) shares of the bins of each label."""
    bins = COLUMNS[measure].stop - COLUMNS[measure].start
    base = np.stack([_base(rng, measure, bins) for _ in LABELS])
    at_night = np.stack([_base(rng, measure, bins) for _ in LABELS])
    t = np.arange(hours)
    night = 0.06 * (1 + np.sin(2 * np.pi * (t - 20) / 24)) + 0.03 * ((t // 24) % 7 >= 5)
    mixed = base[..., None] * (1 - night) + at_night[..., None] * night
    wander = np.exp(np.cumsum(rng.normal(0, 0.004, (len(LABELS), bins, hours)), axis=2))
    mean = mixed * wander
    mean /= mean.sum(axis=1, keepdims=True)
    noisy = rng.gamma(np.maximum(mean * 400, 1e-3))  # a Dirichlet: noisier than counting
    shares: Floats = noisy / noisy.sum(axis=1, keepdims=True)
    return shares


def _base(rng: np.random.Generator, measure: Measure, bins: int) -> Floats:
    if measure == "confidence":
        return _beta(rng, rng.uniform(3, 9), rng.uniform(0.5, 1.6))
    if measure == "length":
        sizes = rng.lognormal(rng.normal(4.3, 0.2), rng.uniform(0.6, 0.8), 20_000)
        return np.histogram(sizes, [0, 20, 40, 70, 100, 140, 200, 280, np.inf])[0] / 20_000
    return rng.dirichlet(np.array([40.0, *np.full(bins - 3, 0.4), 1.0, 6.0]))


def _beta(rng: np.random.Generator, a: float, b: float) -> Floats:
    """Shares of confidence; no probability of the best of six is below a sixth."""
    scores = 1 / 6 + 5 / 6 * rng.beta(a, b, 20_000)
    return np.histogram(scores, [0, *CONFIDENCE_EDGES, 1])[0] / 20_000


def _drawn(rng: np.random.Generator, labels: NDArray[np.int64], shares: Mapping[Measure, Floats]) -> Spread:
    """(T, 7, columns) labels spread over the bins of each measure."""
    n = labels.T
    spread = np.zeros((n.shape[0], *SHAPE), dtype=np.int64)
    hour = np.arange(n.shape[0]) // STEPS_PER_HOUR
    for measure in MEASURES:
        p = np.moveaxis(shares[measure], 2, 0)[hour]
        spread[..., COLUMNS[measure]] = rng.multinomial(n, p)
    return spread


def _mood(
    rng: np.random.Generator, made: Stream, shares: Mapping[Measure, Floats], begin: int, row: int
) -> None:
    """Three to six times the posts of one emotion: more posts (mood), or no more of them in all (swing)."""
    end = begin + int(rng.integers(12, 3 * STEPS_PER_HOUR))
    made.until = made.start + end * STEP
    spread = made.spreads[OLD]
    n = spread[begin:end, :, COLUMNS["confidence"]].sum(axis=2)
    times = rng.uniform(3, 6)
    if made.kind == "swing":  # others' posts become fewer
        times = rng.uniform(3, 4.5)
        share = n.sum(axis=0) / n.sum()
        rest = max(0.05, (1 - times * share[row]) / (1 - share[row]))
        keep = np.full(len(LABELS), rest)
        keep[row] = 1.0
        spread[begin:end] = rng.binomial(spread[begin:end], keep[None, :, None])
    more = np.zeros_like(n)
    more[:, row] = rng.poisson(n[:, row] * (times - 1))
    # One event: its posts are plainer than usual ones of their emotion, shorter, in the usual languages.
    hours = slice(begin // STEPS_PER_HOUR, -(-end // STEPS_PER_HOUR))
    own = {measure: one[..., hours].copy() for measure, one in shares.items()}
    tilts: tuple[tuple[Measure, float], ...] = (("confidence", 1.5), ("length", -0.8))
    for measure, by in tilts:
        bins = own[measure].shape[1]
        tilt = np.exp(by * rng.uniform(0.2, 1) * np.linspace(-1, 1, bins))
        own[measure] *= tilt[None, :, None]
        own[measure] /= own[measure].sum(axis=1, keepdims=True)
    hour = np.arange(begin, end) // STEPS_PER_HOUR - begin // STEPS_PER_HOUR
    for measure in MEASURES:
        p = np.moveaxis(own[measure], 2, 0)[hour]
        spread[begin:end, :, COLUMNS[measure]] += rng.multinomial(more, p)


def _regress(
    rng: np.random.Generator, made: Stream, shares: Mapping[Measure, Floats], begin: int, row: int
) -> None:
    """The same posts, labelled by a model that has gone wrong.

    collapse    a quarter to six tenths of all posts are given one emotion, half-heartedly
    blur        a wrong temperature: less sure of everything, and a tenth of the labels at random
    conviction  sure of everything, and three tenths given one emotion
    version     another model, whose mix is another, with a confidence of its own
    """
    spread = made.spreads[OLD]
    after = spread[begin:]
    if made.kind == "collapse":
        weak = _beta(rng, rng.uniform(1.5, 3), rng.uniform(1.5, 3))
        after = _relabelled(rng, after, rng.uniform(0.25, 0.6), row, weak)
    elif made.kind == "conviction":
        sure = _beta(rng, 60, 0.4)
        after = _relabelled(rng, after, 0.3, row, sure)
        after = _surer(rng, after, sure, 0.8)
    elif made.kind == "blur":
        after = _surer(rng, after, _beta(rng, rng.uniform(2, 4), rng.uniform(1.2, 2)), rng.uniform(0.6, 0.9))
        for other in range(len(LABELS)):
            after = _relabelled(rng, after, 0.1 / len(LABELS), other, _beta(rng, 2, 2))
    else:
        after = _relabelled(rng, after, rng.uniform(0.25, 0.5), row, _base(rng, "confidence", 12))
        made.spreads[NEW] = np.concatenate([np.zeros_like(spread[:begin]), after])
        made.spreads[OLD] = np.concatenate([spread[:begin], np.zeros_like(after)])
        return
    made.spreads[OLD] = np.concatenate([spread[:begin], after])


def _relabelled(rng: np.random.Generator, spread: Spread, part: float, row: int, sure: Floats) -> Spread:
    """A part of each label's posts goes to one, keeps length and language, and gets another confidence."""
    leaving = rng.binomial(spread, part)
    leaving[:, row] = 0
    n = leaving[..., COLUMNS["confidence"]].sum(axis=(1, 2))
    left = spread - leaving
    left[:, row] += leaving.sum(axis=1)
    left[:, row, COLUMNS["confidence"]] -= leaving[..., COLUMNS["confidence"]].sum(axis=1)
    left[:, row, COLUMNS["confidence"]] += rng.multinomial(n, sure)
    return left


def _surer(rng: np.random.Generator, spread: Spread, sure: Floats, part: float) -> Spread:
    """A part of all labels gets another confidence."""
    leaving = rng.binomial(spread[..., COLUMNS["confidence"]], part)
    spread = spread.copy()
    spread[..., COLUMNS["confidence"]] += rng.multinomial(leaving.sum(axis=2), sure) - leaving
    return spread


class StreamReader:
    """A `TrendReader` of a simulated stream: what lies before `now`; no posts to be shown."""

    def __init__(self, given: Stream) -> None:
        self.stream = given
        self.now = given.start

    def read(self, window: Window, narrowed: Filter = ALL) -> Trend:
        assert narrowed == ALL
        trend = Trend.empty(window)
        counts = self._steps(self.stream.labels.T, window)
        trend.counts.update({label: counts[:, row].astype(int).tolist() for row, label in enumerate(LABELS)})
        return trend

    def spreads(self, window: Window) -> dict[str, Spread]:
        found = {model: self._steps(spread, window) for model, spread in self.stream.spreads.items()}
        return {model: spread for model, spread in found.items() if spread.any()}

    def _steps(self, values: NDArray[np.generic], window: Window) -> NDArray[np.int64]:
        """Sums by the steps of a window, zeros outside the stream and after now."""
        first, last = ((at - self.stream.start) // STEP for at in (window.start, window.end))
        until = min((self.now - self.stream.start) // STEP, len(values))
        out = np.zeros((last - first, *values.shape[1:]), dtype=np.int64)
        there = slice(max(first, 0), max(min(last, until), first, 0))
        out[there.start - first : there.stop - first] = values[there]
        summed: NDArray[np.int64] = out.reshape(window.steps, -1, *values.shape[1:]).sum(axis=1)
        return summed

    def samples(
        self, window: Window, emotion: LabelName | None = None, narrowed: Filter = ALL, limit: int = 50
    ) -> list[Sample]:
        return []

    def review(self, window: Window, of: Slice, kept: int, limit: int = 50) -> list[Sample]:
        return []

    def terms(self, window: Window, emotion: LabelName, kind: TermKind, limit: int = 10) -> list[Term]:
        return []

    def authors(self, window: Window, narrowed: Filter = ALL) -> Mapping[str, int]:
        return {}

    def voice(self, window: Window) -> Mapping[str, int]:
        return {}

    def names(self, kind: Literal["source", "lang"]) -> list[str]:
        return []

    def late(self) -> Mapping[Literal["late", "early"], int]:
        return {"late": 0, "early": 0}

    def steady(self) -> StreamReader:
        return self
