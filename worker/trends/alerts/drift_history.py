"""How the labels of each model were spread in the hours before, read from the trend store and remembered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np

from worker.clock import Clock
from worker.distribution import COLUMNS, SHAPE
from worker.trends.alerts.drift import Floats, Reference, Rules, Verdict, judge, lasting, reference_of
from worker.trends.shapes import Spread
from worker.trends.store import TrendReader
from worker.trends.windows import DAY, HOUR, Window

_ALIKE_S = 600.0
"""How long what was made of it is remembered, as for spikes."""
_YOUNG_S = 5.0
"""The same where there is too little: more of it may be counted just now."""
_OPEN_DAYS = 2
"""The last days, which are still counted into."""

_CONFIDENCE = COLUMNS["confidence"]


class Known(NamedTuple):
    """What is known of one model."""

    reference: Reference | None
    """Of its last weeks, up to the windows that are judged."""
    last_day: Floats
    """(7, columns) of the last 24 whole hours."""
    day: Verdict | None
    """Of these."""
    lasting: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]
    """(3,) see `drift.lasting`."""


class Histories:
    """Reads spreads by the hour. Belongs to one thread."""

    def __init__(self, reader: TrendReader, weeks: int, rules: Rules, clock: Clock) -> None:
        self._reader = reader
        self._days = 7 * weeks
        self._rules = rules
        self._clock = clock
        self._closed: dict[int, Mapping[str, Spread]] = {}
        self._hours = range(0)
        self._read_until = 0.0
        self._by_model: dict[str, Floats] = {}
        self._known: dict[tuple[str, int], Known] = {}

    def of(self, model: str, hours: range) -> Known:
        """What is known of a model at the end of some hours, the last ones of which are being judged.

        `hours` are since the epoch: the first is the first that a window touches, the last is under way.
        """
        key = (model, hours.start)
        if key not in self._known:
            self._known[key] = self._make(self._by_model.get(model), hours)
        return self._known[key]

    def labels(self, model: str) -> tuple[Floats, Floats]:
        """(H, 7) the labels of a model by hour up to now, and those of all models."""
        every = sum(self._by_model.values(), np.zeros((len(self._hours), *SHAPE)))
        own = self._by_model.get(model, np.zeros_like(every))
        return own[..., _CONFIDENCE].sum(axis=2), every[..., _CONFIDENCE].sum(axis=2)

    def before(self, model: str, hours: int) -> str | None:
        """The model that gave most labels in the week before a model's first hours; `None` for no other."""
        week = slice(max(0, len(self._hours) - hours - 168), len(self._hours) - hours)
        n = {name: one[week][..., _CONFIDENCE].sum() for name, one in self._by_model.items() if name != model}
        return max(n, key=n.__getitem__) if n and max(n.values()) > 0 else None

    def look(self, hours: range) -> None:
        """Read what may have changed, once in a while.

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        now = self._clock.monotonic()
        upto = range(hours.stop - 24 * self._days, hours.stop)
        if upto == self._hours and now < self._read_until:
            return
        days = range(upto.start // 24, -(-upto.stop // 24))
        self._closed = {day: kept for day, kept in self._closed.items() if day >= days.start}
        read = {day: self._day(day, days.stop - _OPEN_DAYS) for day in days}
        found: dict[str, Floats] = {}
        for day, spreads in read.items():
            first = day * 24 - upto.start
            there = slice(max(0, first), min(len(upto), first + 24))
            for model, spread in spreads.items():
                whole = found.setdefault(model, np.zeros((len(upto), *SHAPE)))
                whole[there] = spread[there.start - first : there.stop - first]
        self._hours, self._by_model = upto, found
        self._known = {}
        old = any((one.sum(axis=(1, 2)) > 0).sum() > 24 for one in found.values())
        self._read_until = now + (_ALIKE_S if old else _YOUNG_S)

    def _day(self, day: int, open_from: int) -> Mapping[str, Spread]:
        if day in self._closed:
            return self._closed[day]
        found = self._reader.spreads(Window(day * DAY, (day + 1) * DAY, HOUR))
        if day < open_from:
            self._closed[day] = found
        return found

    def _make(self, counts: Floats | None, hours: range) -> Known:
        if counts is None:
            return Known(None, np.zeros(SHAPE), None, np.zeros(3, np.bool_))
        judged = len(hours)
        reference = reference_of(counts[: len(counts) - judged], self._rules)
        last = counts[-25:-1]  # the last one is under way
        if reference is None:
            return Known(None, last.sum(axis=0), None, np.zeros(3, np.bool_))
        each = judge(last, reference, self._rules)
        return Known(
            reference,
            last.sum(axis=0),
            judge(last.sum(axis=0), reference, self._rules),
            lasting(each.drifted),
        )
