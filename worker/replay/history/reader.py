"""The records of given offsets, read once, several partitions at a time.

confluent-kafka is told which partitions to read (`assign`): it joins no group, commits nothing and takes
nothing from the live workers. It reads topics of every compression; kafka-python needs a package for each.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from worker.clock import Clock
from worker.errors import DependencyError
from worker.replay.history.ranges import Range
from worker.settings import KafkaSettings
from worker.stream.connection import client_logger, onlooker
from worker.stream.kafka_source import record_of
from worker.stream.refusal import refused
from worker.types import Record

GROUP = "moodstream-replay"
"""The client wants a name; no group of it ever comes to be."""

_AT_ONCE = 4
"""Partitions. Parts of so many are in memory at once; one alone keeps a model on a CPU busy."""
_TAKE = 2048
_WAIT_S = 0.1
_SILENCE_S = 60.0
"""Longest time without a record while some are left: a restart of a broker is over by then."""
_QUEUE_KB = 32 * 1024
_GONE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})

log = logging.getLogger(__name__)


class Read(NamedTuple):
    """Some records, in the order of each partition's offsets, and how far each partition has been read."""

    records: list[Record]
    reached: dict[int, int]
    """By partition, of all that are being read: every record below this offset has been handed out."""


class RangeReader:
    """Iterates over `Read`s of the ranges until all has been read. Close it."""

    def __init__(self, kafka: KafkaSettings, topic: str, ranges: Sequence[Range], clock: Clock) -> None:
        self._topic = topic
        self._clock = clock
        self._waiting = deque(one for one in ranges if one.offsets)
        self._open: dict[int, Range] = {}
        self._reached: dict[int, int] = {}
        self._consumer = Consumer(
            onlooker(
                kafka,
                GROUP,
                **{
                    "auto.offset.reset": "error",
                    "queued.max.messages.kbytes": _QUEUE_KB,
                    "fetch.max.bytes": _QUEUE_KB * 1024 // 4,
                },
            ),
            logger=client_logger(),
        )

    def __iter__(self) -> Iterator[Read]:
        """Raise DependencyError where Kafka refuses, is away for long, or has deleted what is asked for."""
        self._open_more()
        silent_s = 0.0
        while self._open:
            start = self._clock.monotonic()
            messages = self._consumer.consume(_TAKE, _WAIT_S)
            silent_s = 0.0 if messages else silent_s + self._clock.monotonic() - start
            if silent_s > _SILENCE_S:
                raise DependencyError("kafka", f"{self._topic}: no record came for {_SILENCE_S:.0f} s")
            records = [record for message in messages if (record := self._record(message)) is not None]
            yield Read(records, dict(self._reached))
            self._close_finished()
            self._open_more()

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _record(self, message: Message) -> Record | None:
        """The record of a message, if it is one of the range; notes how far the partition has been read."""
        within = self._open.get(message.partition() or 0)
        error = message.error()
        if error is not None and error.code() != KafkaError._PARTITION_EOF:
            self._trouble(error, within)
            return None
        if within is None:  # Fetched before its partition was closed.
            return None
        if error is not None:
            # Behind the last record there may be offsets that are none: ends of transactions.
            self._reached[within.partition] = min(message.offset() or 0, within.end)
            return None
        record = record_of(message)
        if record.offset < self._reached[within.partition]:  # brought again: see worker.stream.rising
            return None
        self._reached[within.partition] = min(record.offset + 1, within.end)
        return record if record.offset < within.end else None

    def _trouble(self, error: KafkaError, within: Range | None) -> None:
        if (
            error.code() == KafkaError.GROUP_AUTHORIZATION_FAILED
        ):  # No right to a group is needed: there is none.
            return
        where = self._topic
        if within is not None:
            where = f"{self._topic}/{within.partition} at offset {self._reached[within.partition]}"
        if error.code() in _GONE:
            raise DependencyError(
                "kafka",
                f"{where}: its records are gone (retention, or the topic was made anew); replay what is left"
                " into another --report folder",
            )
        if refused(error):
            raise DependencyError("kafka", f"{error.str()}: check the credentials and the ACLs")
        log.warning("kafka: %s: %s", where, error.str())

    def _close_finished(self) -> None:
        done = [one for one in self._open.values() if self._reached[one.partition] >= one.end]
        for one in done:
            del self._open[one.partition], self._reached[one.partition]
        if done:
            self._consumer.incremental_unassign([TopicPartition(self._topic, one.partition) for one in done])

    def _open_more(self) -> None:
        more = []
        while self._waiting and len(self._open) < _AT_ONCE:
            one = self._waiting.popleft()
            self._open[one.partition] = one
            self._reached[one.partition] = one.start
            more.append(TopicPartition(self._topic, one.partition, one.start))
        if more:
            self._consumer.incremental_assign(more)
