"""What the hours in question usually hold, remembered: it changes once an hour, and by late labels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from worker.clock import Clock
from worker.trends.alerts.baseline import NOTHING, Flags, History, Usual, hours_of_history, usual
from worker.trends.alerts.history import Counts, Group, hourly
from worker.trends.store import TrendReader
from worker.types import EMOTIONS

ROWS = 1 + len(EMOTIONS)
"""Of one group: its volume and its emotions."""

_ALIKE_S = 600.0
"""How long it is remembered. What is counted late, or again after a rebuild, is seen within this time."""
_YOUNG_S = 60.0
"""The same where there is too little history."""
_EMPTY_S = 5.0
"""The same where there is too little of all posts: more of it may be counted just now."""


class _Made(NamedTuple):
    """The usual values of one group."""

    of: tuple[range, bytes]
    """The hours, and which hours of history could be compared: other ones make it anew."""
    until: float
    """Monotonic seconds."""
    by_hour: Mapping[int, Usual]


class Usuals:
    """Reads histories and makes usual values of them. Belongs to one thread."""

    def __init__(self, reader: TrendReader, weeks: int, clock: Clock) -> None:
        self._reader = reader
        self._weeks = weeks
        self._clock = clock
        self.hours = hours_of_history(weeks)
        """Of history that each usual value comes from."""
        self._made: dict[tuple[str | None, str], _Made] = {}

    def of(self, groups: Sequence[Group], hours: range, same: Mapping[int, Flags]) -> dict[int, Usual]:
        """For each of these hours (since the epoch; the last one is under way) the usual values of all rows.

        `same[hour]` (H,): which hours of its history were labelled by the same models.

        Raises:
            StoreUnavailableError: the store does not answer.
            UnknownQueryError: a query was removed.
        """
        now = self._clock.monotonic()
        of = hours, b"".join(same[hour].tobytes() for hour in hours)
        made: dict[tuple[str | None, str], _Made] = {}
        everything: Counts | None = None
        for group in groups:
            known = self._made.get(group.key)
            if known is None or known.of != of or now >= known.until:
                if everything is None:
                    everything = self._read(None, hours)
                by_hour = self._make(group, everything, hours, same)
                known = _Made(of, now + _kept_s(group, by_hour[hours[-1]]), by_hour)
            made[group.key] = known
        self._made = made
        return {
            hour: Usual(*map(np.concatenate, zip(*(one.by_hour[hour] for one in made.values()), strict=True)))
            for hour in hours
        }

    def _read(self, query: str | None, hours: range) -> Counts:
        return hourly(self._reader, query, hours[-1], self.hours + len(hours) - 1)

    def _make(
        self, group: Group, everything: Counts, hours: range, same: Mapping[int, Flags]
    ) -> dict[int, Usual]:
        counts = everything if group.query is None else self._read(group.name, hours)
        whole = np.repeat(counts[:1], ROWS, axis=0)
        whole[0] = everything[0]
        first = hours[-1] - counts.shape[1]
        known = (everything[0] > 0) & (np.arange(first, hours[-1]) >= group.since)
        return {hour: self._usual(counts, whole, known, hour - first, same[hour]) for hour in hours}

    def _usual(self, counts: Counts, whole: Counts, known: Flags, end: int, same: Flags) -> Usual:
        span = slice(end - self.hours, end)
        alike = np.repeat(same[None, :], ROWS, axis=0)
        alike[0] = True  # how many there are does not depend on the model
        there = np.repeat(known[None, span], ROWS, axis=0)
        return usual(History(counts[:, span], whole[:, span], there, alike), self._weeks)


def _kept_s(group: Group, made: Usual) -> float:
    if not (made.whole_tier == NOTHING).any():
        return _ALIKE_S
    return _EMPTY_S if group.query is None else _YOUNG_S
