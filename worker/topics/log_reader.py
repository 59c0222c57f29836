"""One topic read once, from a group's offsets to where it ends now, with confluent-kafka."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

from confluent_kafka import Consumer, KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from worker.clock import Clock
from worker.errors import ConfigurationError, DependencyError
from worker.settings import KafkaSettings
from worker.stream.asking import ANSWER_S
from worker.stream.connection import client_logger, onlooker
from worker.stream.kafka_source import record_of
from worker.stream.own_group import OwnGroup
from worker.stream.refusal import refusal, refused
from worker.topics.connect import NoAnswerError, patiently
from worker.types import Record, TopicPartition

_TAKE = 1000
_QUEUE_KB = 32 * 1024


class Span(NamedTuple):
    """A part of a partition."""

    start: int
    """Its first offset."""
    end: int
    """The offset after its last."""


class LogReader:
    """A topic's committed records. Close it, or use it as a context manager."""

    def __init__(self, kafka: KafkaSettings, topic: str, group: str, *, wait_s: float, clock: Clock) -> None:
        """Connect.

        Raises:
            ConfigurationError: there is no such topic.
            DependencyError: no broker answered within `wait_s`, or it refused.
        """
        self._kafka = kafka
        self._topic = topic
        self._wait_s = wait_s
        self._clock = clock
        self._where = f"Kafka at {kafka.bootstrap_servers}"
        self._refused: KafkaError | None = None
        self._consumer = Consumer(
            onlooker(
                kafka,
                group,
                **{
                    "fetch.wait.max.ms": 20,
                    "auto.offset.reset": "earliest",
                    "queued.max.messages.kbytes": _QUEUE_KB,
                    "error_cb": self._on_error,
                },
            ),
            logger=client_logger(),
        )
        try:
            self.topics: Mapping[str, int] = patiently(
                self._partitions, wait_s=wait_s, clock=clock, where=self._where
            )
            """Partitions of every topic of the cluster."""
            if topic not in self.topics:
                raise ConfigurationError([f"there is no topic {topic}: `moodstream topics create` makes it"])
        except BaseException:
            self.close()
            raise
        self.group = OwnGroup(
            self._consumer, [TopicPartition(topic, number) for number in range(self.topics[topic])]
        )
        """How far it is."""

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Disconnect."""
        self._consumer.close()

    def spans(self) -> dict[int, Span]:
        """Of each partition: from where the group stands, or its beginning, to where it ends now.

        Raises:
            DependencyError: the broker does not say.
        """
        spans = {}
        try:
            for partition, at in self.group.committed().items():
                where = KafkaTopicPartition(*partition)
                first, end = self._consumer.get_watermark_offsets(where, ANSWER_S)
                spans[partition.partition] = Span(at.offset if first <= at.offset <= end else first, end)
        except KafkaException as error:
            raise self._trouble(error.args[0]) from error
        return spans

    def read(self, spans: Mapping[int, Span]) -> Iterator[Record]:
        """The records of these parts, each partition in the order of its offsets.

        Records of a transaction that is still open, and all after them, are left out.

        Raises:
            DependencyError: the broker has not answered for as long as we wait.
        """
        waiting = {number: span.end for number, span in spans.items() if span.start < span.end}
        self._consumer.assign(
            [KafkaTopicPartition(self._topic, number, spans[number].start) for number in waiting]
        )
        behind = {number: spans[number].start for number in waiting}
        heard_at = self._clock.monotonic()
        while waiting:
            messages = self._consumer.consume(_TAKE, 0.2)
            if messages:
                heard_at = self._clock.monotonic()
            elif self._refused is not None or self._clock.monotonic() - heard_at > self._wait_s:
                raise self._trouble(None)
            for message in messages:
                number, error = message.partition() or 0, message.error()
                if error is not None:
                    self._take_note(error)
                    if error.code() == KafkaError._PARTITION_EOF:
                        waiting.pop(number, None)
                    continue
                record = record_of(message)
                if record.offset < behind[number]:  # brought again: see worker.stream.rising
                    continue
                behind[number] = record.offset + 1
                if record.offset < spans[number].end:
                    yield record
                if record.offset + 1 >= spans[number].end:
                    waiting.pop(number, None)
        self._consumer.unassign()

    def _partitions(self, within_s: float) -> Mapping[str, int]:
        try:
            found = self._consumer.list_topics(timeout=within_s).topics
        except KafkaException as error:
            if self._refused is not None:
                raise self._trouble(error.args[0]) from error
            raise NoAnswerError(error.args[0].str()) from error
        return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}

    def _take_note(self, error: KafkaError) -> None:
        if refused(error):
            raise refusal(error, self._kafka, self._topic)

    def _on_error(self, error: KafkaError) -> None:
        if refused(error):
            self._refused = error

    def _trouble(self, error: KafkaError | None) -> DependencyError:
        """What to end with after this error, or after none came for too long."""
        against_us = self._refused or (error if error is not None and refused(error) else None)
        if against_us is not None:
            return refusal(against_us, self._kafka, self._topic)
        return DependencyError(
            self._where, f"no answer within {self._wait_s:g} s" if error is None else error.str()
        )
