"""The labels topic in memory."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.labels import NOON
from worker.trends.source import Taken
from worker.types import Headers, Record

TOPIC = "emotion-labels"


class FakeSource:
    """Partitions in memory, as librdkafka shows them: paused until placed, back to the beginning where an
    offset is not in the log."""

    def __init__(self, partitions: int = 1) -> None:
        self.log: dict[int, dict[int, bytes | None]] = {number: {} for number in range(partitions)}
        self.headers: dict[tuple[int, int], Headers] = {}
        self.start = dict.fromkeys(self.log, 0)
        self.end = dict.fromkeys(self.log, 0)
        self.assigned: frozenset[int] = frozenset()
        self.joined = False
        self.ready = True
        self.again = 0
        """How many records at the end of the next take are brought a second time."""
        self.reading: dict[int, int] = {}
        self.committed: dict[int, int] = {}
        self._revoked: set[int] = set()

    def put(self, *values: bytes | None, partition: int = 0, marker: bool = False) -> None:
        for value in values:
            self.log[partition][self.end[partition]] = value
            self.end[partition] += 1
        self.end[partition] += marker

    def assign(self, *partitions: int) -> None:
        self.assigned, self.joined = self.assigned.union(partitions), True

    def revoke(self, *partitions: int) -> None:
        self.assigned -= set(partitions)
        self._revoked |= set(partitions)
        for partition in partitions:
            self.reading.pop(partition, None)

    def take(self, limit: int, timeout_s: float) -> Taken:
        records: dict[int, list[Record]] = {}
        ends: dict[int, int] = {}
        for partition, wanted in sorted(self.reading.items()):
            in_log = self.start[partition] <= wanted <= self.end[partition]
            position = wanted if in_log else self.start[partition]
            found = [offset for offset in self.log[partition] if offset >= position][:limit]
            if found:
                records[partition] = [
                    Record(
                        TOPIC,
                        partition,
                        offset,
                        None,
                        self.log[partition][offset],
                        NOON * 1000,
                        self.headers.get((partition, offset), []),
                    )
                    for offset in found
                ]
                self.reading[partition] = found[-1] + 1
                if self.again:
                    records[partition] += records[partition][-self.again :]
                    self.again = 0
            else:
                ends[partition] = self.reading[partition] = self.end[partition]
        revoked, self._revoked = self._revoked, set()
        return Taken(records, ends, revoked)

    def place(self, partition: int, offset: int | None) -> bool:
        if self.ready:
            self.reading[partition] = offset or 0
        return self.ready

    def hold(self) -> None:
        self.reading.clear()

    def bounds(self, partition: int) -> tuple[int, int]:
        return self.start[partition], self.end[partition]

    def commit(self, offsets: Mapping[int, int]) -> None:
        self.committed.update(offsets)
