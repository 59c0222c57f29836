"""Whether a new model gives other labels than the one before it. Pure functions over arrays.

Nobody can tell a model that calls everything joy from a world that is happy, by its labels alone. But a
change of the mix in the hour in which the model changed is the model's: so the new model's first hours are
compared with the same hours of the day as the old one labelled them, and with how much those differed among
each other.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from worker.trends.alerts.drift import Floats, Rules, mix_distance

MIN_PSI = 0.1
"""Least distance of the label mixes: "some" by the customary marks, because moods were given their due."""
LEAST_HOURS = 3
"""Of the new model, before anything is said."""
MOST_HOURS = 24
"""After which what it says is the usual."""

_DAY = 24
_DAYS = 7
_ENOUGH_DAYS = 3
_MAINLY = 0.8
"""Share of an hour's labels by which it is a model's hour."""


class Relabelled(NamedTuple):
    """The new model beside the old one."""

    psi: float
    usual: float
    """The same distance between the old one's own days."""
    hours: int
    """Of the new model, that were looked at."""
    moved: bool


def relabelled(new: Floats, every: Floats, rules: Rules) -> Relabelled | None:
    """Compare a model's first hours with the days before.

    Args:
        new: (H, 7) its labels by hour, up to now; at least eight days of hours.
        every: (H, 7) the same of all models together.
        rules: The least number of labels, and of deviations.

    Returns:
        None where it is not new, or there is too little to say.
    """
    total = every.sum(axis=1)
    own = new.sum(axis=1) >= _MAINLY * total  # an hour without labels changes nothing
    first = _first(own, len(own))
    hours = len(own) - first
    if not LEAST_HOURS <= hours <= MOST_HOURS or first < _ENOUGH_DAYS * _DAY:
        return None
    if new[:first].sum() > (1 - _MAINLY) * max(total[:first].sum(), 1) or new[first:].sum() < rules.min_posts:
        return None  # it has been here for longer, beside another
    days = _days_before(every[:first], hours)
    days = days[days.sum(axis=1) >= rules.min_posts]
    if len(days) < _ENOUGH_DAYS:
        return None
    before = days.sum(axis=0)
    psi, noise = mix_distance(new[first:].sum(axis=0), before)
    among, _ = mix_distance(days, before)
    level = float(np.median(among))
    stray = 1.4826 * float(np.median(np.abs(among - level)))
    k = rules.min_deviations
    moved = psi >= max(MIN_PSI, level + k * stray) and psi >= k * noise
    return Relabelled(float(psi), max(level, 0.0), hours, bool(moved))


def _first(own: np.ndarray[tuple[int, ...], np.dtype[np.bool_]], end: int) -> int:
    """Where the run of the model's hours that reaches to now began."""
    others = np.flatnonzero(~own[:end])
    return int(others[-1]) + 1 if len(others) else 0


def _days_before(counts: Floats, hours: int) -> Floats:
    """(D, 7) the same hours of the day, on each of the last days that are wholly before."""
    sums = []
    for day in range(1, _DAYS + 1):
        end = len(counts) + hours - day * _DAY
        if end - hours >= 0 and end <= len(counts):
            sums.append(counts[end - hours : end].sum(axis=0))
    return np.array(sums).reshape(-1, counts.shape[1])
