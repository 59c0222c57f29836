"""One label, read from where a correction says that it lies."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicPartition

from worker.clock import Clock
from worker.errors import BadRecordError, DependencyError, UnansweredError
from worker.formats.registry import RegistryAwayError
from worker.quality.correction import LabelRef
from worker.settings import KafkaSettings
from worker.stream.connection import client_logger, onlooker
from worker.stream.refusal import refused
from worker.types import Label

_WITHIN_S = 5.0
"""How long one question may take; then Kafka counts as away."""
_STEP_S = 0.1
_DECODE = msgspec.json.Decoder(Label).decode

log = logging.getLogger(__name__)


class LabelLookup(Protocol):
    """The labels topic, one record at a time. Belongs to one thread."""

    def read(self, ref: LabelRef) -> Label:
        """The committed label at `ref`.

        Raises:
            BadRecordError: `label_gone` (deleted by the topic's retention), `no_such_label` (nothing that
                was committed lies there), `label_deleted` (a tombstone), `label_unreadable`.
            UnansweredError: Kafka or the schema registry did not answer in time: ask again.
            DependencyError: Kafka or the schema registry refuses us for good.
        """
        ...


class KafkaLabelLookup:
    """A `LabelLookup` on Kafka: goes there, takes what lies there, and fetches nothing more.

    3 to 5 ms a label on a broker beside it. It is no member of a group and commits nothing.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        group_id: str,
        clock: Clock,
        *,
        within_s: float = _WITHIN_S,
        read: Callable[[bytes], Label] = _DECODE,
    ) -> None:
        """`group_id`: of a group that we may read; librdkafka wants one, and asks for its coordinator.

        `read`: what a label is written in; JSON where not given.
        """
        self._read = read
        self._clock = clock
        self._within_s = within_s
        self._partitions: dict[str, int] = {}
        self._refused: str | None = None
        self._consumer = Consumer(
            onlooker(
                kafka,
                group_id,
                **{
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 50,
                    # One record is wanted, not the topic; and the next one soon: by default librdkafka
                    # looks away for a second once it has fetched enough.
                    "fetch.message.max.bytes": 64 * 1024,
                    "queued.min.messages": 1,
                    "fetch.queue.backoff.ms": 2,
                    "error_cb": self._on_error,
                },
            ),
            logger=client_logger(),
        )

    def read(self, ref: LabelRef) -> Label:
        if not 0 <= ref.partition < self._partition_count(ref):
            raise _nothing()
        return _label(self._record(ref), self._read)

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()

    def _record(self, ref: LabelRef) -> Message:
        where = TopicPartition(ref.topic, ref.partition, ref.offset)
        deadline = self._clock.monotonic() + self._within_s
        try:
            self._consumer.assign([where])
            while self._clock.monotonic() < deadline:
                for message in self._consumer.consume(1, _STEP_S):
                    if self._is_it(message, ref):
                        return message
                self._raise_if_refused()
        except KafkaException as error:
            raise self._unanswered(error.args[0]) from error
        finally:
            with suppress(KafkaException):
                self._consumer.unassign()
        raise UnansweredError(f"{ref} was not brought within {self._within_s:g} s")

    def _is_it(self, message: Message, ref: LabelRef) -> bool:
        """Whether the label has come; false: something else happened, wait on.

        Raises:
            BadRecordError: it will not come.
        """
        error = message.error()
        if error is None:
            if message.offset() == ref.offset:
                return True
            raise _nothing()  # a later one: a marker, an aborted or a compacted record lies there
        if error.code() == KafkaError._PARTITION_EOF:
            raise _nothing()
        if error.code() in (KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE):
            raise self._outside(ref)
        if refused(error):
            self._refused = error.str()
        return False

    def _outside(self, ref: LabelRef) -> BadRecordError:
        """Before the log's beginning or behind its end."""
        low, _ = self._consumer.get_watermark_offsets(
            TopicPartition(ref.topic, ref.partition), timeout=self._within_s
        )
        if ref.offset < low:
            return BadRecordError("label_gone", f"the labels before offset {low} have left the topic")
        return _nothing()

    def _partition_count(self, ref: LabelRef) -> int:
        """How many partitions the topic has; asked again where it may have grown."""
        if ref.partition >= self._partitions.get(ref.topic, 0):
            try:
                found = self._consumer.list_topics(ref.topic, timeout=self._within_s).topics[ref.topic]
            except KafkaException as error:
                raise self._unanswered(error.args[0]) from error
            if found.error is not None:
                raise self._unanswered(found.error)
            self._partitions[ref.topic] = len(found.partitions)
        return self._partitions[ref.topic]

    def _on_error(self, error: KafkaError) -> None:
        if refused(error):
            self._refused = error.str()

    def _unanswered(self, error: KafkaError) -> UnansweredError:
        """An error that waiting may mend; raises where it does not.

        Raises:
            DependencyError: Kafka refuses us.
        """
        if refused(error):
            self._refused = error.str()
        self._raise_if_refused()
        return UnansweredError(error.str())

    def _raise_if_refused(self) -> None:
        if self._refused is not None:
            raise DependencyError("kafka", f"{self._refused}: check the credentials and the ACLs")


def _nothing() -> BadRecordError:
    return BadRecordError("no_such_label", "no committed label lies at label_ref")


def _label(message: Message, read: Callable[[bytes], Label]) -> Label:
    value = message.value()
    if value is None:
        raise BadRecordError("label_deleted", "the post at label_ref was deleted")
    try:
        return read(value)
    except RegistryAwayError as error:
        raise UnansweredError(str(error)) from error
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BadRecordError) as error:
        raise BadRecordError("label_unreadable", "what lies at label_ref is not a label") from error
