"""Batches: how many records go through the model and into one transaction. Pure; knows no Kafka."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterable, Sequence
from datetime import datetime
from itertools import accumulate, takewhile

import msgspec

from worker.errors import BadRecordError
from worker.stream.decode import Deletion
from worker.stream.pace import Pace
from worker.types import Post, Record, TopicPartition

MAX_BYTES = 16 * 1024 * 1024
"""Of the records of a batch: a hundred times what tweets come to, and eight records of the largest kind."""


class Entry(msgspec.Struct):
    """One record with what became of it so far."""

    record: Record
    what: Post | Deletion | BadRecordError
    written_at: datetime | None = None
    """Of a post: when it was written."""
    tokens: list[int] = []
    """Of a post: its token ids."""

    @property
    def partition(self) -> TopicPartition:
        """Where the record came from."""
        return TopicPartition(self.record.topic, self.record.partition)


class Batch(msgspec.Struct, frozen=True):
    """Entries in the order they came; each partition's records in the order of its offsets."""

    entries: list[Entry]

    @property
    def posts(self) -> list[Entry]:
        """The entries that the model is asked about."""
        return [entry for entry in self.entries if isinstance(entry.what, Post)]

    @property
    def tokens(self) -> int:
        """Word pieces of all posts."""
        return sum(len(entry.tokens) for entry in self.entries)

    def positions(self) -> dict[TopicPartition, int]:
        """The offset after the last record of each partition: what is committed with the batch."""
        last = {(entry.record.topic, entry.record.partition): entry.record.offset for entry in self.entries}
        return {TopicPartition(*key): offset + 1 for key, offset in last.items()}

    def without(self, partitions: Collection[TopicPartition]) -> Batch:
        """The batch less the records of `partitions`."""
        return Batch([entry for entry in self.entries if entry.partition not in partitions])


class BatchBuilder:
    """Collects entries until a batch is worth the model's time.

    A batch is full at `max_records` records, at as many word pieces as `pace` allows or at `max_bytes`,
    whichever comes first: they bound the model's time however long the posts are, and the memory however
    large the records. It is due when full, or when its first entry has waited `linger_s`.
    """

    def __init__(self, *, max_records: int, pace: Pace, linger_s: float, max_bytes: int = MAX_BYTES) -> None:
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._pace = pace
        self._linger_s = linger_s
        self._waiting: deque[tuple[float, Entry]] = deque()
        self._tokens = 0
        self._bytes = 0
        """At least what the records come to; what was taken is not yet taken off."""
        self._budget = pace.budget(0.0)

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, entries: Iterable[Entry], now: float) -> None:
        """Take entries in; `now` in monotonic seconds."""
        for entry in entries:
            self._waiting.append((now, entry))
            self._tokens += len(entry.tokens)
            record = entry.record
            self._bytes += len(record.value or b"") + len(record.key or b"")
            if record.headers:
                self._bytes += _bytes_of_headers(record)

    @property
    def full(self) -> bool:
        """Whether the next batch has all it may have: nothing more needs to be fetched."""
        return len(self._waiting) >= self._max_records or self._tokens >= self._budget or self._large

    @property
    def _large(self) -> bool:
        """Whether the records come to `max_bytes`: counted anew when what has come in since may do so."""
        if self._bytes >= self._max_bytes:
            self._bytes = sum(_bytes(entry.record) for _, entry in self._waiting)
        return self._bytes >= self._max_bytes

    def wait_s(self, now: float) -> float | None:
        """Seconds until a batch is due: 0 if it is, None while there is nothing."""
        if not self._waiting:
            return None
        if self.full:
            return 0.0
        return max(0.0, self._waiting[0][0] + self._linger_s - now)

    def take(self, time: float) -> Batch:
        """The next batch: within all limits, but at least one entry if any is there.

        Args:
            time: Seconds since the epoch.
        """
        # It holds until the next batch is taken: a backlog is to be fetched in large batches too.
        self._budget = self._pace.budget(_age_s(self._waiting[0][1], time) if self._waiting else 0.0)
        entries: list[Entry] = []
        tokens = 0
        waiting, budget = self._waiting, self._budget
        for _ in range(min(len(waiting), self._max_records, self._within_bytes())):
            entry = waiting[0][1]
            tokens += len(entry.tokens)
            if tokens > budget and entries:
                tokens -= len(entry.tokens)
                break
            entries.append(entry)
            waiting.popleft()
        self._tokens -= tokens
        return Batch(entries)

    def _within_bytes(self) -> int:
        """How many of the first entries are not too large for one batch; at least one."""
        if not self._large:
            return len(self._waiting)
        sizes = accumulate(_bytes(entry.record) for _, entry in self._waiting)
        return max(1, sum(1 for _ in takewhile(lambda size: size <= self._max_bytes, sizes)))

    def took(self, tokens: int, seconds: float) -> None:
        """The model has answered a batch of so many word pieces in so many seconds."""
        self._pace.took(tokens, seconds)

    def pressed(self, committed: Batch, time: float) -> bool:
        """Whether posts wait for the model, or those just committed came late.

        Args:
            committed: With at least one entry.
            time: Seconds since the epoch.
        """
        return self.full or self._pace.in_danger(_age_s(committed.entries[0], time))

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget the entries of `partitions`: another worker reads them now."""
        kept = [(at, entry) for at, entry in self._waiting if entry.partition not in partitions]
        self._waiting = deque(kept)
        self._tokens = sum(len(entry.tokens) for _, entry in kept)

    def prepare_again(self, prepare: Callable[[Sequence[Entry]], None]) -> None:
        """Give every waiting post the token ids of another model, which answers it from now on."""
        prepare([entry for _, entry in self._waiting])
        self._tokens = sum(len(entry.tokens) for _, entry in self._waiting)

    def clear(self) -> None:
        """Forget everything: the source goes back to what is committed."""
        self._waiting.clear()
        self._tokens = self._bytes = 0


def _age_s(entry: Entry, time: float) -> float:
    """Since the record was written to Kafka; 0 where that is not known."""
    if entry.record.timestamp_ms < 0:
        return 0.0
    return max(0.0, time - entry.record.timestamp_ms / 1000)


def _bytes(record: Record) -> int:
    return len(record.value or b"") + len(record.key or b"") + _bytes_of_headers(record)


def _bytes_of_headers(record: Record) -> int:
    return sum(len(name) + len(value or b"") for name, value in record.headers)
