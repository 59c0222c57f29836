"""What an hour usually holds, from the hours before it. Pure functions over arrays of S series by H hours.

The usual value of an hour is the median of what is most like it: of the first of these that is there:

    1. SAME_HOUR_OF_WEEK   the same hour of the week, at least 3 of the previous `weeks` weeks
    2. SAME_HOUR_OF_DAY    the same hour of the day, at least 3 of the previous 7 days
    3. LAST_HOURS          at least 6 of the previous 24 hours
    4. NOTHING             too young to be judged

It is then moved by the median distance of the last 24 hours from their own usual values (the level), so that
growth, or a day on which all is louder, is not taken for a spike: what lasts for more than half a day becomes
the usual. How far hours stray from their usual values, moved by the level of the day before, is measured over
the previous days by the median absolute deviation, less the part of it that is mere counting noise.

Counts and shares are worked on as logarithms (of odds, for shares), where seasons and levels add up: three
times as many posts of one emotion, all else unchanged, are three times the odds, however common it is.

Robust baselines of the same hour of the week, and variance in a part that grows with the mean and one that
grows with its square, are those of outbreak detection: Farrington et al. 1996, J. R. Statist. Soc. A 159:547.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

DAY, WEEK = 24, 168
"""In hours."""
SAME_HOUR_OF_WEEK, SAME_HOUR_OF_DAY, LAST_HOURS, NOTHING = 1, 2, 3, 4

_ENOUGH = 3
"""Of the same hour; the median of two is their mean, which one spike a week ago spoils."""
_ENOUGH_HOURS = 6
_DAYS = 7
"""Whose hours are compared with their own usual values, for level and spread."""
_MAD_TO_SIGMA = 1.4826
"""Makes the median absolute deviation of a normal distribution its standard deviation."""
_LEAST_SPREAD = 0.05**2
"""Variance of the logarithm: no real stream is steadier from hour to hour than 5%."""
_UNKNOWN_SPREAD = 0.2**2
"""Where fewer than `_ENOUGH_STRAYS` hours could be compared with their usual values."""
_ENOUGH_STRAYS = 24

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Tiers = NDArray[np.int_]


def hours_of_history(weeks: int) -> int:
    """How many hours are looked at: those that usual values come from, for each of the last week's hours."""
    return max(weeks * WEEK, 7 * DAY) + _DAYS * DAY


@dataclass(frozen=True, slots=True)
class History:
    """The whole hours before the one in question, oldest first."""

    part: Floats
    """(S, H) counts of each series."""
    whole: Floats
    """(S, H) counts that they are a part of."""
    known: Flags
    """(S, H) whether the hour was counted at all."""
    comparable: Flags
    """(S, H) whether its shares can be compared: labelled by the same model."""


class Usual(NamedTuple):
    """What one hour usually holds; each (S,)."""

    whole: Floats
    """Posts; NaN where unknown."""
    odds: Floats
    """Of the part against the rest; NaN where unknown."""
    whole_spread: Floats
    """Variance of the logarithm beyond counting noise."""
    odds_spread: Floats
    whole_tier: Tiers
    odds_tier: Tiers
    """Which hours they come from."""


def usual(history: History, weeks: int) -> Usual:
    """What the hour after the history usually holds."""
    part, whole, known = history.part, history.whole, history.known
    rest = whole - part
    counts = np.where(known, np.log(whole + 0.5), np.nan)
    count_noise = 1 / (whole + 0.5)

    # A prior of one post with the series' own share: an hour without posts says nothing, instead of "half".
    shareable = known & history.comparable
    seen = np.where(shareable, whole, 0).sum(axis=1, keepdims=True)
    prior = (np.where(shareable, part, 0).sum(axis=1, keepdims=True) + 0.5) / (seen + 1)
    some, others = part + prior, rest + 1 - prior
    odds = _made_comparable(np.where(known, np.log(some / others), np.nan), history.comparable, weeks)

    whole_log, whole_spread, whole_tier = _forecast(counts, count_noise, weeks)
    odds_log, odds_spread, odds_tier = _forecast(odds, 1 / some + 1 / others, weeks)
    return Usual(
        np.maximum(np.exp(whole_log) - 0.5, 0),
        np.exp(odds_log),
        whole_spread,
        odds_spread,
        whole_tier,
        odds_tier,
    )


def _made_comparable(odds: Floats, comparable: Flags, weeks: int) -> Floats:
    """Move the hours of another model by as much as the model of now differs from it in the same hours.

    So a new model costs the hours that it takes to see the difference, and no season. NaN until then.
    """
    if not (~comparable).any():
        return odds
    odds = _padded(odds, weeks)
    comparable = np.concatenate(
        [np.zeros((odds.shape[0], odds.shape[1] - comparable.shape[1]), np.bool_), comparable], axis=1
    )
    before, _ = _seasonal(np.where(comparable, np.nan, odds), weeks)
    moved = np.where(comparable, odds, np.nan)[:, -_DAYS * DAY :] - before[:, :-1]
    difference = np.where((~np.isnan(moved)).sum(axis=1) >= _ENOUGH_HOURS, _median(moved), np.nan)
    return np.where(comparable, odds, odds + difference[:, None])


def _forecast(values: Floats, noise: Floats, weeks: int) -> tuple[Floats, Floats, Tiers]:
    """Forecast, spread and tier of the hour after the last column; NaN is unknown.

    `noise` is the variance that counting alone gives each value.
    """
    values, noise = _padded(values, weeks), _padded(noise, weeks)
    forecast, tier = _seasonal(values, weeks)
    residuals = values[:, -_DAYS * DAY :] - forecast[:, :-1]
    levels = _levels(residuals)
    strays = residuals[:, DAY:] - np.repeat(levels[:, :-1], DAY, axis=1)
    sigma = _MAD_TO_SIGMA * _median(np.abs(strays - _median(strays)[:, None]))
    counting = _median(np.where(np.isnan(strays), np.nan, noise[:, -strays.shape[1] :]))
    spread = np.fmax(sigma**2 - counting, _LEAST_SPREAD)
    few = (~np.isnan(strays)).sum(axis=1) < _ENOUGH_STRAYS
    return (
        forecast[:, -1] + levels[:, -1],
        np.where(few, np.fmax(spread, _UNKNOWN_SPREAD), spread),
        tier[:, -1],
    )


def _seasonal(values: Floats, weeks: int) -> tuple[Floats, Tiers]:
    """Of each hour of the last `_DAYS` days and the next: the median of what is most like it; its tier."""
    series, steps = values.shape[0], _DAYS * DAY
    at = np.arange(values.shape[1] - steps, values.shape[1] + 1)
    found = np.full((series, steps + 1), np.nan)
    tier = np.full((series, steps + 1), NOTHING)
    for number, ago, enough in (
        (SAME_HOUR_OF_WEEK, WEEK * np.arange(1, weeks + 1), _ENOUGH),
        (SAME_HOUR_OF_DAY, DAY * np.arange(1, 8), _ENOUGH),
        (LAST_HOURS, np.arange(1, DAY + 1), _ENOUGH_HOURS),
    ):
        row, column = np.nonzero(tier == NOTHING)
        like = values[row[:, None], at[column][:, None] - ago]
        there = (~np.isnan(like)).sum(axis=1) >= enough
        row, column = row[there], column[there]
        found[row, column] = _median(like[there])
        tier[row, column] = number
    return found, tier


def _padded(values: Floats, weeks: int) -> Floats:
    """As long as a whole history, NaN before the first hour."""
    missing = max(0, hours_of_history(weeks) - values.shape[1])
    return np.concatenate([np.full((values.shape[0], missing), np.nan), values], axis=1)


def _levels(residuals: Floats) -> Floats:
    """(S, days * 24) residuals -> (S, days): the median of each day; 0 where too little is known."""
    days = residuals.reshape(residuals.shape[0], -1, DAY)
    there = (~np.isnan(days)).sum(axis=2) >= _ENOUGH_HOURS
    return np.where(there, np.nan_to_num(_median(days)), 0.0)


def _median(values: Floats) -> Floats:
    """Along the last axis, NaN left out; NaN where there is nothing. numpy's is slow for short axes."""
    ordered = np.sort(values, axis=-1)  # NaN last
    n = (~np.isnan(ordered)).sum(axis=-1, keepdims=True)
    low = np.take_along_axis(ordered, np.maximum(n - 1, 0) // 2, axis=-1)
    high = np.take_along_axis(ordered, np.minimum(n // 2, ordered.shape[-1] - 1), axis=-1)
    return np.where(n > 0, (low + high) / 2, np.nan)[..., 0]
