"""A source that hands out only records whose schemas are known: so decoding never waits for the registry.

A registry that is away is no fault of a record. What needs a schema that is not known yet, and all that was
taken behind it, waits here; the group is kept meanwhile, and what waits is dropped when it is revoked or read
again, as everything that is not committed.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from worker.clock import Clock
from worker.errors import BadRecordError
from worker.formats.frame import schema_id
from worker.formats.registry import RegistryAwayError
from worker.stream.edges import OnRevoke, Source
from worker.types import Record, TopicPartition

Resolve = Callable[[int], None]
"""Sees that messages of a schema can be read without a question; raises RegistryAwayError."""

_TURN_S = 0.2


class SchemaSource:
    """A `Source` over another."""

    def __init__(self, source: Source, resolve: Mapping[str, Resolve], clock: Clock) -> None:
        """`resolve`: by topic; records of others need no schema."""
        self._source = source
        self._resolve = resolve
        self._clock = clock
        self._held: list[Record] = []
        self._on_revoke: OnRevoke = lambda _: None

    def open(self, on_revoke: OnRevoke) -> None:
        self._on_revoke = on_revoke
        self._source.open(self._revoked)

    def take(self, limit: int, timeout_s: float) -> list[Record]:
        records = self._held or self._source.take(limit, timeout_s)
        ready = self._ready(records[:limit])
        self._held = records[ready:]
        if self._held and not ready:
            self._source.heartbeat()
            self._clock.sleep(min(timeout_s, _TURN_S))
        return records[:ready]

    def heartbeat(self) -> None:
        self._source.heartbeat()

    def rewind(self) -> None:
        self._held = []
        self._source.rewind()

    def close(self) -> None:
        self._source.close()

    def _ready(self, records: list[Record]) -> int:
        """How many of these, from the first on, can be decoded now."""
        seen: set[tuple[str, int]] = set()
        for n, record in enumerate(records):
            resolve = self._resolve.get(record.topic)
            if resolve is None or record.value is None:
                continue
            try:
                number = schema_id(record.value)
                if (record.topic, number) not in seen:
                    resolve(number)
                    seen.add((record.topic, number))
            except BadRecordError:
                continue  # what is not framed will be a dead letter
            except RegistryAwayError:
                return n
        return len(records)

    def _revoked(self, partitions: Collection[TopicPartition]) -> None:
        gone = set(partitions)
        self._held = [one for one in self._held if TopicPartition(one.topic, one.partition) not in gone]
        self._on_revoke(partitions)
