"""Reading from Kafka with confluent-kafka: batches of raw records, cooperative rebalancing, lag."""

from __future__ import annotations

import logging
import random
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    TIMESTAMP_NOT_AVAILABLE,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
)
from confluent_kafka import TopicPartition as KafkaTopicPartition

from worker import metrics as m
from worker.clock import Clock
from worker.dependency import Dependency
from worker.errors import DependencyError
from worker.metrics import Metrics
from worker.settings import KafkaSettings, WorkerSettings
from worker.stream.connection import client_logger, member
from worker.stream.edges import OnRevoke
from worker.stream.statistics import parse
from worker.types import Record, TopicPartition
from worker.web.health import Health

_ANSWER_S = 10.0
_REFUSED = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError._SSL,
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)
"""What waiting does not mend."""
_UNKNOWN_TOPIC = KafkaError.UNKNOWN_TOPIC_OR_PART

log = logging.getLogger(__name__)


def refused(error: KafkaError) -> bool:
    """Whether an error means that the cluster does not want us, however long we wait."""
    return error.code() in _REFUSED


class KafkaSource:
    """Some topics, read as a member of a consumer group."""

    def __init__(
        self,
        kafka: KafkaSettings,
        worker: WorkerSettings,
        topics: tuple[str, ...],
        *,
        clock: Clock,
        metrics: Metrics,
        health: Health,
    ) -> None:
        self._topics = topics
        self._watch = _Watch(clock, metrics, health)
        self._on_revoke: OnRevoke = lambda _: None
        self._stash: list[Message] = []
        self._paused = False
        self._rewinding = False
        self._consumer = Consumer(_configuration(kafka, worker, self._watch), logger=client_logger())

    def open(self, on_revoke: OnRevoke) -> None:
        self._on_revoke = on_revoke
        self._consumer.subscribe(
            list(self._topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def take(self, limit: int, timeout_s: float) -> list[Record]:
        self._watch.raise_if_refused()
        if self._rewinding and not self._rewound():
            return []
        if self._paused:
            self._consumer.resume(self._consumer.assignment())
            self._paused = False
        messages, self._stash = self._stash, []
        messages += self._consumer.consume(limit, timeout_s)
        records = [record_of(message) for message in messages if self._sound(message)]
        if records:
            self._watch.took(records)
        return records

    def heartbeat(self) -> None:
        if not self._paused:
            self._consumer.pause(self._consumer.assignment())
            self._paused = True
        self._stash += self._consumer.consume(1, 0.0)

    def rewind(self) -> None:
        """Only noted here: the next `take` does it, again and again while the cluster is away."""
        self._rewinding = True
        self._stash.clear()

    def close(self) -> None:
        self._consumer.close()

    def group_metadata(self) -> Any:
        """Who we are in the group, for the transaction that commits our offsets (KIP-447)."""
        return self._consumer.consumer_group_metadata()

    def _rewound(self) -> bool:
        try:
            committed = self._consumer.committed(self._consumer.assignment(), _ANSWER_S)
            for partition in committed:
                if partition.offset < 0:
                    partition.offset = OFFSET_BEGINNING
                self._consumer.seek(partition)
        except KafkaException as error:
            log.warning("could not go back to the committed offsets, trying again: %s", error)
            self._stash += self._consumer.consume(1, random.uniform(0.1, 1.0))  # noqa: S311 - jitter
            self._stash.clear()
            return False
        self._rewinding = False
        return True

    def _sound(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if refused(error):
            raise DependencyError("kafka", f"{error.str()}: check the credentials and the ACLs")
        hint = "; `moodstream topics create` makes it" if error.code() == _UNKNOWN_TOPIC else ""
        log.warning("kafka: %s%s", error.str(), hint)
        return False

    def _assigned(self, _consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        """The client itself adds them to the assignment after this."""
        self._watch.assigned(_named(partitions))

    def _revoked(self, _consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        """Also called while closing, when the client answers no more questions: nothing is asked here."""
        gone = _named(partitions)
        self._stash = [
            message for message in self._stash if (message.topic(), message.partition()) not in gone
        ]
        self._on_revoke(gone)
        self._watch.revoked(gone)


def _named(partitions: list[KafkaTopicPartition]) -> set[TopicPartition]:
    return {TopicPartition(partition.topic, partition.partition) for partition in partitions}


def _configuration(kafka: KafkaSettings, worker: WorkerSettings, watch: _Watch) -> dict[str, Any]:
    chosen = member(
        kafka,
        group_id=worker.group_id,
        session_timeout_ms=worker.session_timeout_ms,
        queue_kb=worker.queue_mb * 1024,
        **{
            "group.protocol": worker.group_protocol,
            "fetch.wait.max.ms": worker.fetch_wait_ms,
            "error_cb": watch.on_error,
            "stats_cb": watch.on_statistics,
        },
    )
    if worker.group_protocol == "consumer":  # KIP-848: the broker decides these
        for name in ("partition.assignment.strategy", "session.timeout.ms", "heartbeat.interval.ms"):
            del chosen[name]
    if worker.instance_id is not None:
        chosen["group.instance.id"] = worker.instance_id
    return chosen


def record_of(message: Message) -> Record:
    """A message of the client as a record."""
    kind, timestamp = message.timestamp()
    return Record(
        message.topic() or "",
        message.partition() or 0,
        message.offset() or 0,
        message.key(),
        message.value(),
        -1 if kind == TIMESTAMP_NOT_AVAILABLE else timestamp,
    )


class _Watch:
    """Turns the client's callbacks into metrics, health and the one error that must stop us."""

    def __init__(self, clock: Clock, metrics: Metrics, health: Health) -> None:
        self._clock = clock
        self._health = health
        self._kafka = Dependency("kafka", clock, metrics, health)
        self._lag = metrics.gauge(m.CONSUMER_LAG)
        self._lag_seconds = metrics.gauge(m.CONSUMER_LAG_SECONDS)
        self._assigned = metrics.gauge(m.ASSIGNED)
        self._rebalances = metrics.counter(m.REBALANCES)
        self._last_taken: dict[TopicPartition, float] = {}
        self._owned: set[TopicPartition] = set()
        self._refused: str | None = None
        health.set("assignment", False)

    def raise_if_refused(self) -> None:
        """Turn what a callback has seen into an error of the thread that reads."""
        if self._refused is not None:
            raise DependencyError("kafka", f"{self._refused}: check the credentials and the ACLs")

    def took(self, records: list[Record]) -> None:
        """Records were taken: remember how old the last of each partition is."""
        self._kafka.works()
        for record in records:
            self._last_taken[TopicPartition(record.topic, record.partition)] = record.timestamp_ms / 1000

    def assigned(self, came: set[TopicPartition]) -> None:
        """Partitions came."""
        self._rebalances.labels("assigned").inc()
        self._hold(self._owned | came)

    def revoked(self, gone: set[TopicPartition]) -> None:
        """Partitions went: their series must not stay at the last value."""
        self._rebalances.labels("revoked").inc()
        self._hold(self._owned - gone)
        for partition in gone & self._last_taken.keys():
            del self._last_taken[partition]
        for partition in gone:
            for gauge in (self._lag, self._lag_seconds):
                gauge.remove(partition.topic, str(partition.partition))

    def on_error(self, error: KafkaError) -> None:
        """Librdkafka's error callback."""
        if refused(error):
            self._refused = error.str()
        elif error.code() == KafkaError._ALL_BROKERS_DOWN:
            self._kafka.failed(error.str())
        else:
            log.debug("kafka: %s", error.str())

    def on_statistics(self, text: str) -> None:
        """Librdkafka's statistics callback, every `_STATISTICS_MS`."""
        statistics = parse(text)
        if statistics.connected:
            self._kafka.works()
        else:
            self._kafka.failed("no broker is connected")
        now = self._clock.time()
        for partition, lag in statistics.lags():
            if partition in self._owned:
                self._behind(partition, lag, now)

    def _behind(self, partition: TopicPartition, lag: int, now: float) -> None:
        last = self._last_taken.get(partition)
        seconds = max(0.0, now - last) if lag > 0 and last is not None else 0.0
        self._lag.labels(partition.topic, str(partition.partition)).set(lag)
        self._lag_seconds.labels(partition.topic, str(partition.partition)).set(seconds)

    def _hold(self, partitions: set[TopicPartition]) -> None:
        self._owned = partitions
        self._assigned.set(len(partitions))
        self._health.set("assignment", bool(partitions))
        log.info("assigned %d partitions", len(partitions))
