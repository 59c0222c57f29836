"""Corrections that Faust passes over, read from their topic.

Seen at a start (faust-streaming 0.15.3): the first record behind the committed offset came, the 124 after it
never did, and the next commit was behind them. What moves Faust's position while it recovers its tables is
its own affair; so it is asked only what comes next, and what lies before that is looked for in the topic.
"""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple, Protocol

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from worker.clock import Clock
from worker.errors import UnansweredError
from worker.quality.probe import why
from worker.settings import KafkaSettings
from worker.stream.connection import client_logger, onlooker
from worker.stream.kafka_source import record_of
from worker.types import Record

_WITHIN_S = 5.0
"""Of silence; then Kafka counts as away."""
_STEP_S = 0.1
_TAKE = 1000


class Found(NamedTuple):
    """Committed records, and how far the topic was looked through."""

    records: list[Record]
    reached: int
    """No other committed record lies between where the search began and this offset."""


class CorrectionLog(Protocol):
    """The corrections topic, looked up by offsets. Belongs to one thread."""

    def between(self, done: int, end: int) -> Found:
        """The committed records from `done`, or from where the group is if that is later, to before `end`.

        Raises:
            UnansweredError: Kafka did not answer in time: ask again.
            DependencyError: it refuses us.
        """
        ...


class KafkaCorrectionLog:
    """A `CorrectionLog` on Kafka. It is no member of the group, and commits nothing."""

    def __init__(
        self,
        kafka: KafkaSettings,
        group_id: str,
        topic: str,
        partition: int,
        clock: Clock,
        *,
        within_s: float = _WITHIN_S,
    ) -> None:
        self._clock = clock
        self._within_s = within_s
        self._where = (topic, partition)
        self._consumer = Consumer(
            onlooker(
                kafka,
                group_id,
                **{
                    "auto.offset.reset": "earliest",
                    "fetch.wait.max.ms": 50,
                },
            ),
            logger=client_logger(),
        )

    def between(self, done: int, end: int) -> Found:
        try:
            start = max(done, self._begun())
            return self._read(start, end) if start < end else Found([], end)
        except KafkaException as error:
            raise why(error) from error
        finally:
            with suppress(KafkaException):
                self._consumer.unassign()

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def _begun(self) -> int:
        """What the group has committed, or where the topic begins."""
        where = TopicPartition(*self._where)
        [committed] = self._consumer.committed([where], timeout=self._within_s)
        first, _ = self._consumer.get_watermark_offsets(where, timeout=self._within_s)
        return max(committed.offset, first)

    def _read(self, start: int, end: int) -> Found:
        records: list[Record] = []
        self._consumer.assign([TopicPartition(*self._where, start)])
        reached, heard_at = start, self._clock.monotonic()
        while self._clock.monotonic() - heard_at < self._within_s:
            for message in self._consumer.consume(_TAKE, _STEP_S):
                heard_at = self._clock.monotonic()
                error, offset = message.error(), message.offset() or 0
                if error is None and reached <= offset < end:
                    records.append(record_of(message))
                elif error is not None and error.code() != KafkaError._PARTITION_EOF:
                    raise KafkaException(error)
                if offset >= end or (error is not None and offset >= reached):
                    return Found(records, min(offset, end))
                reached = max(reached, offset + 1)
            if reached >= end:
                return Found(records, end)
        raise UnansweredError(f"corrections {reached} to {end} were not brought within {self._within_s:g} s")
