"""Trends in memory: for tests, and for a demo without Redis."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from worker.clock import Clock
from worker.trends.counting import OTHER, Batch
from worker.trends.store import Applied, Position, settle
from worker.trends.windows import Bucket, Slot, Trend, Window, lay_out


@dataclass
class _Counts:
    """One hash; gone at `expires_at` (monotonic seconds)."""

    slots: Counter[Slot] = field(default_factory=Counter)
    expires_at: float = 0.0


@dataclass
class _Partition:
    """The counts of one generation of one partition."""

    position: Position
    sources: set[str] = field(default_factory=set)
    buckets: dict[Bucket, _Counts] = field(default_factory=dict)

    def expire(self, now: float) -> None:
        """Forget what nobody has added to for long."""
        self.buckets = {bucket: counts for bucket, counts in self.buckets.items() if counts.expires_at > now}
        if not self.buckets:
            self.sources.clear()


class MemoryTrendStore:
    """A `TrendStore` that lives as long as its process."""

    def __init__(self, clock: Clock, *, retention_s: float, max_sources: int) -> None:
        self._clock = clock
        self._retention_s = retention_s
        self._max_sources = max_sources
        self._partitions: dict[int, _Partition] = {}
        self._lock = threading.Lock()

    def open(self, partitions: Iterable[int]) -> dict[int, Position | None]:
        with self._lock:
            return {number: self._position(number) for number in partitions}

    def apply(self, batch: Batch, expected: Position | None) -> Applied:
        with self._lock:
            return settle(batch, expected, self._attempt)

    def read(self, window: Window, source: str | None = None) -> Trend:
        trend = Trend.empty(window)
        with self._lock:
            now = self._clock.monotonic()
            for partition in self._partitions.values():
                for bucket in window.buckets():
                    counts = partition.buckets.get(bucket)
                    if counts is not None and counts.expires_at > now:
                        trend.add(bucket, counts.slots.items(), source)
        return trend

    def wipe(self) -> None:
        """Forget everything."""
        with self._lock:
            self._partitions.clear()

    def _position(self, number: int) -> Position | None:
        partition = self._partitions.get(number)
        return None if partition is None else partition.position

    def _attempt(self, batch: Batch, expected: Position | None, wanted: Position) -> Position | None:
        stored = self._position(batch.partition)
        if stored != expected:
            return stored
        partition = self._partitions.setdefault(batch.partition, _Partition(wanted))
        partition.position = wanted
        now = self._clock.monotonic()
        partition.expire(now)
        names = {source: self._named(partition, source) for source in batch.sources}
        for bucket, slots in lay_out(batch.counts).items():
            counts = partition.buckets.setdefault(bucket, _Counts())
            counts.expires_at = now + self._retention_s
            for slot, n in slots.items():
                counts.slots[slot._replace(source=names[slot.source])] += n
        return wanted

    def _named(self, partition: _Partition, source: str) -> str:
        """The source itself, or `other` where too many were named before it."""
        known = partition.sources
        if source == OTHER or source in known:
            return source
        if len(known) >= self._max_sources:
            return OTHER
        known.add(source)
        return source
