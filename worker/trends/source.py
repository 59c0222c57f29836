"""The labels topic, read with confluent-kafka from offsets that the caller knows and Kafka does not."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Collection, Mapping
from typing import Any, NamedTuple, Protocol

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    TopicPartition,
)

from worker import metrics as m
from worker.dependency import Dependency
from worker.errors import DependencyError
from worker.metrics import Metrics
from worker.settings import KafkaSettings, TrendsSettings
from worker.stream.connection import member
from worker.stream.kafka_source import record_of
from worker.stream.refusal import refusal, refused
from worker.stream.statistics import parse
from worker.types import Record

_PASSING = frozenset({KafkaError._TRANSPORT, KafkaError._RESOLVE, KafkaError._TIMED_OUT})
"""What librdkafka mends by itself; where no broker at all is left it says so with another error."""
_QUEUE_KB = 32 * 1024
_FIRST = 0
"""Where a log begins, or, where retention has removed that, whence the client goes to its beginning. Never
librdkafka's own words for beginning and end: it looks them up, and where the answer comes late, after a seek,
it goes there none the less, past records that nobody has counted (2.16, `rd_kafka_toppar_handle_Offset`)."""

log = logging.getLogger(__name__)


class Taken(NamedTuple):
    """What one `take` brought."""

    records: Mapping[int, list[Record]]
    """By partition, in the order of their offsets."""
    ends: Mapping[int, int]
    """Partitions whose end was reached, and the offset of that end, transaction markers included."""
    revoked: set[int]
    """Partitions that were taken away, also where they came back at once: their place is forgotten."""


class LabelSource(Protocol):
    """The labels topic as a member of a consumer group sees it. Belongs to one thread."""

    @property
    def joined(self) -> bool:
        """Whether the group has assigned us partitions, be it none."""
        ...

    @property
    def assigned(self) -> frozenset[int]:
        """Partitions that are ours. Nothing comes from one before it is placed."""
        ...

    def take(self, limit: int, timeout_s: float) -> Taken:
        """At most `limit` records; waits up to `timeout_s` for so many.

        Raises:
            DependencyError: Kafka refuses us for good.
        """
        ...

    def place(self, partition: int, offset: int | None) -> bool:
        """Read a partition from `offset` on (`None`: from its beginning); false: not yet, try again."""
        ...

    def hold(self) -> None:
        """Bring nothing more of any partition until it is placed again; the group is not left."""
        ...

    def bounds(self, partition: int) -> tuple[int, int]:
        """First offset of the log and the one after its last, as of the last fetch; negative: unknown."""
        ...

    def commit(self, offsets: Mapping[int, int]) -> None:
        """Tell Kafka how far we are, for whoever watches the group's lag; never read back."""
        ...


class KafkaLabelSource:
    """A `LabelSource` on Kafka, with cooperative rebalancing and only committed records.

    With `partitions` it reads these and no others, alone: it is no member of the group, waits for nobody to
    leave it, and only names it when it says how far it is.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        trends: TrendsSettings,
        topic: str,
        *,
        dependency: Dependency,
        metrics: Metrics,
        partitions: Collection[int] | None = None,
    ) -> None:
        self._kafka = kafka
        self._topic = topic
        self._dependency = dependency
        self._rebalances = metrics.counter(m.REBALANCES)
        self._assigned_count = metrics.gauge(m.ASSIGNED)
        self._refused: KafkaError | None = None
        self._revoked: set[int] = set()
        self.assigned: frozenset[int] = frozenset()
        self.joined = False
        self._consumer = Consumer(_configuration(kafka, trends, self._on_error, self._on_statistics))
        if partitions is None:
            self._consumer.subscribe(
                [topic], on_assign=self._on_assign, on_revoke=self._on_revoke, on_lost=self._on_lost
            )
        else:
            self._on_assign(self._consumer, [self._partition(number) for number in partitions])

    def take(self, limit: int, timeout_s: float) -> Taken:
        records: defaultdict[int, list[Record]] = defaultdict(list)
        ends: dict[int, int] = {}
        try:
            messages = self._consumer.consume(limit, timeout_s)
        except KafkaException as gave_up:
            raise DependencyError("kafka", str(gave_up)) from gave_up
        for message in messages:
            error = message.error()
            if error is None:
                record = record_of(message)
                records[record.partition].append(record)
            elif error.code() == KafkaError._PARTITION_EOF:
                ends[message.partition() or 0] = message.offset() or 0
            else:
                self._on_error(error)
        if self._refused is not None:
            raise refusal(self._refused, self._kafka)
        if records or ends:
            self._dependency.works()
        revoked, self._revoked = self._revoked, set()
        return Taken(records, ends, revoked)

    def place(self, partition: int, offset: int | None) -> bool:
        where = self._partition(partition, offset or _FIRST)
        try:
            # Whatever was fetched from the old place is dropped before this returns. Assigning anew would
            # do it too, but not while the group is rebalancing.
            self._consumer.seek(where)
            self._consumer.resume([where])
        except KafkaException as error:
            log.debug("%s/%d cannot be placed yet: %s", self._topic, partition, error)
            return False
        return True

    def hold(self) -> None:
        self._consumer.pause([self._partition(partition) for partition in self.assigned])

    def bounds(self, partition: int) -> tuple[int, int]:
        try:
            return self._consumer.get_watermark_offsets(self._partition(partition), cached=True)
        except KafkaException:  # the partition has gone from the cluster
            return -1, -1

    def commit(self, offsets: Mapping[int, int]) -> None:
        try:
            self._consumer.commit(
                offsets=[self._partition(partition, offset) for partition, offset in offsets.items()],
                asynchronous=True,
            )
        except KafkaException as error:
            log.debug("offsets not committed, which only delays the display of lag: %s", error)

    def close(self, within_s: float) -> None:
        """Leave the group, so that others take over at once; give up after `within_s`.

        librdkafka waits for answers to what it has sent, a minute where a broker hangs.
        """
        closing = threading.Thread(target=self._consumer.close, name="close-consumer", daemon=True)
        closing.start()
        closing.join(within_s)
        if closing.is_alive():
            log.warning("kafka does not answer: left the group without a goodbye")

    def _partition(self, partition: int, offset: int = _FIRST) -> TopicPartition:
        return TopicPartition(self._topic, partition, offset)

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Partitions came. They wait, paused, for their place: only the store knows it."""
        self._rebalances.labels("assigned").inc()
        ours = [self._partition(partition.partition) for partition in partitions]
        consumer.incremental_assign(ours)
        if ours:
            consumer.pause(ours)
        self.joined = True
        self._hold(self.assigned.union(partition.partition for partition in partitions))

    def _on_revoke(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._rebalances.labels("revoked").inc()
        self._let_go(consumer, partitions)

    def _on_lost(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """The group went on without us: others may already read these partitions."""
        self._rebalances.labels("lost").inc()
        self.joined = False
        self._let_go(consumer, partitions)

    def _let_go(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        consumer.incremental_unassign(partitions)
        gone = {partition.partition for partition in partitions}
        self._revoked |= gone
        self._hold(self.assigned - gone)

    def _hold(self, partitions: frozenset[int]) -> None:
        self.assigned = partitions
        self._assigned_count.set(len(partitions))
        log.info("%s: assigned partitions %s", self._topic, sorted(partitions))

    def _on_error(self, error: KafkaError) -> None:
        if refused(error) or error.fatal() or error.code() == KafkaError._FATAL:
            self._refused = error
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._dependency.failed(error.str())
        elif error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            log.warning("%s does not exist yet: `moodstream topics create` makes it", self._topic)
        else:  # each attempt to connect again is told, some twenty a second
            log.log(logging.DEBUG if error.code() in _PASSING else logging.WARNING, "kafka: %s", error.str())

    def _on_statistics(self, text: str) -> None:
        """The whole truth, every other second: a lost broker is told at once, but one that is back is not."""
        if parse(text).connected:
            self._dependency.works()
        else:
            self._dependency.failed("no broker is connected")


def _configuration(
    kafka: KafkaSettings, trends: TrendsSettings, on_error: Any, on_statistics: Any
) -> dict[str, Any]:
    return member(
        kafka,
        group_id=trends.group_id,
        session_timeout_ms=trends.session_timeout_ms,
        queue_kb=_QUEUE_KB,
        **{
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 100,
            "log_level": 2,  # the callbacks tell the rest, and once
            "error_cb": on_error,
            "stats_cb": on_statistics,
        },
    )
