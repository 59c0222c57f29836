"""Parts of several partitions as a `Source`: from what a group has committed, or a first offset, to an end.

Joins no group (`assign`): a run that was killed is gone on with at once. What keeps two of them apart is the
name of the transaction, as for `topics redrive`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import partial

from confluent_kafka import Consumer, KafkaError, Message
from confluent_kafka import TopicPartition as KafkaTopicPartition

from worker.clock import Clock
from worker.errors import DependencyError
from worker.settings import KafkaSettings
from worker.stream.asking import ANSWER_S, Asking
from worker.stream.connection import client_logger, onlooker
from worker.stream.edges import OnRevoke
from worker.stream.kafka_source import record_of
from worker.stream.own_group import OwnGroup
from worker.stream.refusal import refusal, refused
from worker.stream.rising import brought_again
from worker.types import Record, TopicPartition

_TAKE = 1000
_QUEUE_KB = 32 * 1024
_GONE = frozenset({KafkaError._AUTO_OFFSET_RESET, KafkaError.OFFSET_OUT_OF_RANGE})

log = logging.getLogger(__name__)


class BoundedSource:
    """A `Source` that is `exhausted` when every partition was read to its end. Belongs to one thread."""

    def __init__(
        self,
        kafka: KafkaSettings,
        group: str,
        starts: Mapping[TopicPartition, int],
        wanted: Callable[[Record], bool],
        *,
        wait_s: float,
        clock: Clock,
        go_on: Callable[[], bool],
    ) -> None:
        """Read nothing yet.

        Args:
            kafka: How to reach it.
            group: Whose committed offsets are gone on from.
            starts: Every partition, with where to begin where nothing is committed.
            wanted: Which records are handed out.
            wait_s: How long a cluster that is away is waited for, each time.
            clock: For that.
            go_on: Asked while it is away; false ends the patience.
        """
        self._kafka = kafka
        self._starts = starts
        self._wanted = wanted
        self._wait_s = wait_s
        self._clock = clock
        self._asked = Asking(kafka, wait_s=wait_s, clock=clock, go_on=go_on)
        self._on_revoke: OnRevoke = lambda _: None
        self._at = dict(starts)
        self.ends = dict(starts)
        """Where reading stops."""
        self._open: set[TopicPartition] = set()
        """What is being fetched."""
        self._stash: list[Record] = []
        self._reached: dict[tuple[str, int], int] = {}
        self._refused: KafkaError | None = None
        self._silent_s = 0.0
        self._consumer = Consumer(
            onlooker(
                kafka,
                group,
                **{
                    "auto.offset.reset": "error",
                    "fetch.wait.max.ms": 50,
                    "queued.max.messages.kbytes": _QUEUE_KB,
                    "fetch.max.bytes": _QUEUE_KB * 1024 // 4,
                    "error_cb": self._on_error,
                },
            ),
            logger=client_logger(),
        )
        self.group = OwnGroup(self._consumer, starts)
        """How far it is."""

    def aim(self) -> None:
        """Let the ends be those of now.

        Raises:
            DependencyError: no broker answered in time, or it refused.
        """
        for partition in self._starts:
            where = KafkaTopicPartition(*partition)
            _, self.ends[partition] = self._asked(
                partial(self._consumer.get_watermark_offsets, where, ANSWER_S)
            )

    def open(self, on_revoke: OnRevoke) -> None:
        self._on_revoke = on_revoke
        self.rewind()

    def take(self, limit: int, timeout_s: float) -> list[Record]:
        if not self._stash and not self.exhausted:
            self._stash = self._fetch(timeout_s)
        taken, self._stash = self._stash[:limit], self._stash[limit:]
        return taken

    @property
    def exhausted(self) -> bool:
        """Whether everything was handed out."""
        return not self._stash and all(self._at[one] >= end for one, end in self.ends.items())

    @property
    def progress(self) -> tuple[int, int]:
        """How many offsets were read, and of how many, since the very first."""
        done = sum(max(0, self._at[one] - start) for one, start in self._starts.items())
        return done, sum(max(0, self.ends[one] - start) for one, start in self._starts.items())

    def heartbeat(self) -> None:
        """Nobody waits for us."""

    def rewind(self) -> None:
        self._stash.clear()
        self._reached.clear()
        for partition, found in self._asked(self.group.committed).items():
            self._at[partition] = found.offset if found.offset >= 0 else self._starts[partition]
        self._open = {one for one, at in self._at.items() if at < self.ends[one]}
        self._consumer.assign([KafkaTopicPartition(*one, self._at[one]) for one in self._open])

    def close(self) -> None:
        self._consumer.close()

    def _fetch(self, timeout_s: float) -> list[Record]:
        """What is wanted of the next records."""
        began = self._clock.monotonic()
        messages = self._consumer.consume(_TAKE, timeout_s)
        if self._refused is not None:
            raise refusal(self._refused, self._kafka)
        self._silent_s = 0.0 if messages else self._silent_s + self._clock.monotonic() - began
        if self._silent_s > self._wait_s:
            raise DependencyError("kafka", f"no record came for {self._wait_s:g} s")
        records = [record for message in messages if (record := self._within(message)) is not None]
        again = brought_again(records, self._reached)
        if again is not None:
            log.warning(
                "%s/%d: the client brought offset %d again: going back to what is committed",
                again.topic, again.partition, again.offset,
            )  # fmt: skip
            self._on_revoke(self._at.keys())
            self.rewind()
            return []
        return [record for record in records if self._wanted(record)]

    def _within(self, message: Message) -> Record | None:
        """The record of a message where it lies before its end."""
        partition = TopicPartition(message.topic() or "", message.partition() or 0)
        error = message.error()
        if error is not None:
            if error.code() == KafkaError._PARTITION_EOF:
                # What lies behind is of a transaction that is still open: for the next time.
                self.ends[partition] = min(self.ends[partition], message.offset() or 0)
                self._arrive(partition, message.offset() or 0)
            else:
                self._take_note(error, partition)
            return None
        record = record_of(message)
        inside = record.offset < self.ends[partition]
        self._arrive(partition, record.offset + 1)
        return record if inside else None

    def _arrive(self, partition: TopicPartition, at: int) -> None:
        """Stop fetching a partition at its end: it may be one that goes on being written to."""
        end = self.ends[partition]
        self._at[partition] = max(self._at[partition], min(at, end))
        if at >= end and partition in self._open:
            self._open.discard(partition)
            self._consumer.incremental_unassign([KafkaTopicPartition(*partition)])

    def _take_note(self, error: KafkaError, partition: TopicPartition) -> None:
        if error.code() in _GONE:
            raise DependencyError(
                "kafka",
                f"{partition.topic}/{partition.partition} at offset {self._at[partition]}: its records are"
                " gone (retention, or the topic was made anew); `moodstream backfill remove`, and begin anew",
            )
        if refused(error):
            raise refusal(error, self._kafka, partition.topic)
        log.warning("kafka: %s/%d: %s", partition.topic, partition.partition, error.str())

    def _on_error(self, error: KafkaError) -> None:
        if refused(error):
            self._refused = error
