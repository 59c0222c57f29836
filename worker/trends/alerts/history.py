"""The counts that are judged, as arrays, read from the trend store."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.trends.queries import Query
from worker.trends.store import ALL, Filter, TrendReader
from worker.trends.windows import HOUR, Window
from worker.types import EMOTIONS, LABELS

STEP = 300
"""Seconds: windows begin and end at multiples of it."""

Counts = NDArray[np.float64]
"""(7, steps): all posts, then those of each emotion, in the order of the series of one query."""


class Group(NamedTuple):
    """All posts, or those of one tracked query: the series that are counted together."""

    query: Query | None
    recent: Counts
    """By `STEP`, as far back as is looked."""

    @property
    def name(self) -> str | None:
        return None if self.query is None else self.query.name

    @property
    def key(self) -> tuple[str | None, str]:
        """Tells a query from an earlier one of the same name."""
        return self.name, "" if self.query is None else self.query.id

    @property
    def since(self) -> float:
        """From when on it is counted, in hours since the epoch."""
        return 0.0 if self.query is None or self.query.since is None else self.query.since.timestamp() / HOUR


def recent(reader: TrendReader, query: str | None, start: int, end: int) -> Counts:
    """Counts of each `STEP` from `start` to `end`, in epoch seconds, of a tracked query or of all posts.

    Raises:
        StoreUnavailableError: the store does not answer.
        UnknownQueryError: the query was removed.
    """
    return _read(reader, query, Window(start, end, STEP))


def hourly(reader: TrendReader, query: str | None, hour: int, n: int) -> Counts:
    """Counts of the `n` hours before `hour`, in hours since the epoch. Raises as `recent` does."""
    return _read(reader, query, Window((hour - n) * HOUR, hour * HOUR, HOUR))


def _read(reader: TrendReader, query: str | None, window: Window) -> Counts:
    trend = reader.read(window, ALL if query is None else Filter(query=query))
    rows = np.array([trend.counts[label] for label in LABELS], dtype=np.float64)
    return np.concatenate([rows.sum(axis=0, keepdims=True), rows[: len(EMOTIONS)]])
