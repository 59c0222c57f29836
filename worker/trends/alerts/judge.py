"""Whether a window holds far more posts than usual. Pure functions over arrays of S series.

A spike passes every one of these:

    volume     at least `min_posts` posts
    count      at least `min_ratio` times the usual count, and `min_deviations` standard deviations above it
    share      the same of its odds against the rest: a general rise of traffic raises counts and no share,
               and where the others fall silent shares rise and no count
    baseline   there is one: emotions from the last hours on, volume from the same hour of three days on,
               because numbers follow the time of day far more than shares do
    new        a volume is one even without the surplus of the emotions that spike in it: a story is told once
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.trends.alerts.baseline import NOTHING, SAME_HOUR_OF_DAY, Flags, Floats, Usual
from worker.trends.alerts.series import Series


class Rules(NamedTuple):
    """What makes a spike; see `worker.settings.AlertSettings`."""

    min_posts: int
    min_ratio: float
    min_deviations: float


class Places(NamedTuple):
    """What the rows of the arrays are; each (S,)."""

    alone: Flags
    """Is no part of anything."""
    volume: Flags
    """Counts posts whatever they express."""
    parent: NDArray[np.int_]
    """Row of the volume that an emotion's posts count into; of a volume its own."""

    @classmethod
    def of(cls, series: Sequence[Series]) -> Places:
        """The rows of these series; each emotion's volume is among them."""
        rows = {one: row for row, one in enumerate(series)}
        return cls(
            np.array([one.is_all for one in series]),
            np.array([one.emotion is None for one in series]),
            np.array([rows[Series(one.query)] for one in series]),
        )


class Expected(NamedTuple):
    """What one window usually holds; each (S,)."""

    whole: Floats
    part: Floats
    odds: Floats
    whole_spread: Floats
    odds_spread: Floats
    ready: Flags
    """Whether there is enough history."""


class Verdict(NamedTuple):
    """What was found of one window; each (S,)."""

    spike: Flags
    baseline: Floats
    """Posts that were expected, at least one."""
    ratio: Floats
    share_baseline: Floats
    """The part of the whole that was expected; NaN for what is no part of anything."""


def expected(hours: Sequence[tuple[float, Usual]], places: Places) -> Expected:
    """What a window usually holds that covers a fraction of each of some hours."""
    alone, volume, n = places.alone, places.volume, len(places.alone)
    whole, part, whole_spread, odds_spread = np.zeros(n), np.zeros(n), np.zeros(n), np.zeros(n)
    ready = np.ones(n, dtype=np.bool_)
    total = sum(fraction for fraction, _ in hours)
    for fraction, hour in hours:
        whole += fraction * hour.whole
        part += fraction * hour.whole * np.where(alone, 1.0, hour.odds / (1 + hour.odds))
        whole_spread += fraction / total * hour.whole_spread
        odds_spread += fraction / total * hour.odds_spread
        tier = np.where(alone, hour.whole_tier, np.maximum(hour.whole_tier, hour.odds_tier))
        ready &= np.where(volume, tier <= SAME_HOUR_OF_DAY, tier < NOTHING)
    with np.errstate(divide="ignore", invalid="ignore"):
        odds = part / (whole - part)
    return Expected(whole, part, odds, whole_spread, odds_spread, ready)


def judge(part: Floats, whole: Floats, usually: Expected, places: Places, rules: Rules) -> Verdict:
    """Judge one window, in which `part` posts of `whole` were counted; each (S,)."""
    baseline = np.fmax(usually.part, 1.0)
    spike = _spike(part, whole, usually, places, rules)
    surplus = np.where(spike & ~places.volume, part - baseline, 0.0)
    told = np.bincount(places.parent, surplus, minlength=len(part))
    spike &= ~places.volume | _spike(part - told, whole, usually, places, rules)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(places.alone, np.nan, usually.part / usually.whole)
    return Verdict(spike, baseline, part / baseline, share)


def _spike(part: Floats, whole: Floats, usually: Expected, places: Places, rules: Rules) -> Flags:
    baseline = np.fmax(usually.part, 1.0)
    count_spread = usually.whole_spread + np.where(places.alone, 0.0, usually.odds_spread)
    loud = _above(part, baseline, baseline + count_spread * baseline**2, rules)
    # Given the rest, the part is expected at rest * odds; the rest's own counting noise comes on top.
    with np.errstate(invalid="ignore"):
        among = np.fmax((whole - part) * usually.odds, 1.0)
        large = _above(part, among, among * (1 + usually.odds) + usually.odds_spread * among**2, rules)
    found: Flags = usually.ready & (part >= rules.min_posts) & loud & (places.alone | large)
    return found


def _above(seen: Floats, mean: Floats, variance: Floats, rules: Rules) -> Flags:
    found: Flags = (seen >= rules.min_ratio * mean) & (
        seen - mean >= rules.min_deviations * np.sqrt(variance)
    )
    return found
