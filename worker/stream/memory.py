"""Source and publisher in memory: evaluation, `classify` and replay run the real loop over them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Collection, Iterable, Mapping, Sequence
from operator import attrgetter

from worker.stream.edges import AbortedError, OnRevoke
from worker.types import Headers, OutRecord, Record, TopicPartition


class MemoryLog:
    """Topics in memory, with the offsets committed by one consumer group."""

    def __init__(self) -> None:
        self.partitions: dict[TopicPartition, list[Record]] = {}
        self.committed: dict[TopicPartition, int] = {}
        self.published: list[OutRecord] = []

    def append(
        self,
        topic: str,
        value: bytes | None,
        *,
        key: bytes | None = None,
        partition: int = 0,
        timestamp_ms: int = 0,
        headers: Headers | None = None,
    ) -> Record:
        """Add one record at the end of a partition."""
        log = self.partitions.setdefault(TopicPartition(topic, partition), [])
        offset = log[-1].offset + 1 if log else 0
        record = Record(topic, partition, offset, key, value, timestamp_ms, headers or [])
        log.append(record)
        return record

    def extend(self, records: Iterable[Record]) -> None:
        """Add records of another log with the offsets that they have there: rising, with or without gaps."""
        for record in records:
            self.partitions.setdefault(TopicPartition(record.topic, record.partition), []).append(record)


class MemorySource:
    """Reads a `MemoryLog`; `is_exhausted` once everything was taken."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self._position: dict[TopicPartition, int] = {}
        self._revoked: set[TopicPartition] = set()
        self._on_revoke: OnRevoke = _ignore

    def open(self, on_revoke: OnRevoke) -> None:
        self._on_revoke = on_revoke
        self.rewind()

    def take(self, limit: int, timeout_s: float) -> list[Record]:
        taken: list[Record] = []
        for partition, log in self._log.partitions.items():
            if partition in self._revoked:
                continue
            start = self._index(partition)
            part = log[start : start + limit - len(taken)]
            if part:
                self._position[partition] = part[-1].offset + 1
            taken += part
        return taken

    def is_exhausted(self) -> bool:
        """Whether every record of every partition has been taken."""
        return all(
            self._index(partition) >= len(log)
            for partition, log in self._log.partitions.items()
            if partition not in self._revoked
        )

    def _index(self, partition: TopicPartition) -> int:
        """Where the next record stands in its log: offsets may begin anywhere and have gaps."""
        return bisect_left(
            self._log.partitions[partition], self._position.get(partition, 0), key=attrgetter("offset")
        )

    def heartbeat(self) -> None:
        """Nobody is waiting."""

    def rewind(self) -> None:
        self._position = dict(self._log.committed)

    def revoke(self, partitions: Iterable[TopicPartition]) -> None:
        """Act as if another worker had taken these partitions."""
        gone = set(partitions)
        self._revoked |= gone
        self._on_revoke(gone)

    def close(self) -> None:
        """Nothing is held."""


class MemoryPublisher:
    """Publishes into a `MemoryLog`; `fail_next` makes the next publication abort."""

    def __init__(self, log: MemoryLog) -> None:
        self._log = log
        self.fail_next = False

    def publish(self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> None:
        if self.fail_next:
            self.fail_next = False
            raise AbortedError("told to")
        self._log.published.extend(records)
        self._log.committed.update(positions)

    def close(self) -> None:
        """Nothing is held."""


def _ignore(partitions: Collection[TopicPartition]) -> None:
    """Before `open`, nobody listens."""
