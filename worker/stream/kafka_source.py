"""Reading from Kafka with confluent-kafka: batches of raw records, cooperative rebalancing, lag."""

from __future__ import annotations

import logging
import random
from collections.abc import Collection, Mapping
from typing import Any

from confluent_kafka import (
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
from worker.stream.edges import AbortedError, OnRevoke
from worker.stream.fence import NameGuard
from worker.stream.refusal import refusal, refused
from worker.stream.rising import brought_again
from worker.stream.statistics import parse
from worker.types import Headers, Record, TopicPartition
from worker.web.health import Health

_ANSWER_S = 10.0
_STASH = 100
"""Records. A heartbeat comes about once a second."""
_NONE: Headers = []
"""Shared by all that have none, and never changed."""
_UNKNOWN_TOPIC = KafkaError.UNKNOWN_TOPIC_OR_PART

log = logging.getLogger(__name__)


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
        client_options: Mapping[str, Any] | None = None,
    ) -> None:
        """`client_options`: librdkafka's own, on top of what the settings come to."""
        self._topics = topics
        self._kafka = kafka
        self._watch = _Watch(kafka, clock, metrics, health)
        self._on_revoke: OnRevoke = lambda _: None
        self._stash: list[Message] = []
        self._paused = False
        self._held: frozenset[TopicPartition] = frozenset()
        self._rewinding = False
        self._reached: dict[tuple[str, int], int] = {}
        self._gone: set[TopicPartition] = set()
        """What was revoked during the call to the client that is being made."""
        self._name = NameGuard(clock)
        self._configuration = _configuration(kafka, worker, self._watch) | dict(client_options or {})
        self._consumer = Consumer(self._configuration, logger=client_logger())

    def open(self, on_revoke: OnRevoke) -> None:
        self._on_revoke = on_revoke
        self._subscribe()

    def _subscribe(self) -> None:
        self._consumer.subscribe(
            list(self._topics), on_assign=self._assigned, on_revoke=self._revoked, on_lost=self._revoked
        )

    def take(self, limit: int, timeout_s: float) -> list[Record]:
        self._watch.raise_if_refused()
        if self._paused:
            self._paused = False
            self._fetch_all_but(self._held)
        if self._rewinding and not self._rewound():
            return []
        room = max(1, limit - len(self._stash))
        came = self._consume(room, 0.0 if self._stash else timeout_s)
        waiting = [*self._stash, *came]  # only now: a revocation in between has taken its part away
        messages, self._stash = waiting[:limit], waiting[limit:]
        records = [record_of(message) for message in messages]
        again = brought_again(records, self._reached)
        if again is not None:
            self._begin_anew(again)
            return []
        if records:
            self._watch.took(records)
        return records

    def heartbeat(self) -> None:
        """Takes a record a time and keeps it, for as long as these are few.

        To pause is dear: the client throws away what it has fetched, up to its whole queue, and fetches anew.
        """
        if len(self._stash) >= _STASH and not self._paused:
            self._paused = True
            self._consumer.pause(self._consumer.assignment())
        came = self._consume(1, 0.0)
        if not self._rewinding:
            self._stash += came

    def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Fetch nothing of these until told otherwise; what was fetched and not taken is fetched again."""
        wanted = frozenset(partitions)
        if wanted == self._held:
            return
        pause, self._held = wanted - self._held, wanted
        if pause:
            self._consumer.pause([KafkaTopicPartition(*partition) for partition in pause])
        self._fetch_all_but(wanted)

    def _fetch_all_but(self, held: Collection[TopicPartition]) -> None:
        assigned = self._consumer.assignment()
        self._consumer.resume([at for at in assigned if (at.topic, at.partition) not in held])

    def rewind(self) -> None:
        """Only noted here: the next `take` does it, again and again while the cluster is away."""
        self._rewinding = True
        self._stash.clear()
        self._reached.clear()
        self.hold(())

    def close(self) -> None:
        self._consumer.close()

    def group_metadata(self) -> Any:
        """Who we are in the group, for the transaction that commits our offsets (KIP-447).

        Raises:
            AbortedError: nobody at present. A broker takes a transaction's offsets from one that names
                neither member nor generation, and asks not whose partitions they are (as before KIP-447).
        """
        metadata = self._consumer.consumer_group_metadata()
        if not self._consumer.memberid():
            raise AbortedError("not a member of the consumer group any more")
        return metadata

    def _consume(self, limit: int, timeout_s: float) -> list[Message]:
        """The records that librdkafka has. Its errors are dealt with here: it tells each only once."""
        consumer = self._consumer
        self._gone.clear()
        try:
            came = consumer.consume(limit, timeout_s)
        except KafkaException as error:  # only what it will not recover from
            self._give_up(error.args[0])
            return []
        sound = [message for message in came if self._sound(message)]
        if self._consumer is not consumer:
            return []  # what came before a client ended is not ours
        return self._still_ours(sound) if self._gone else sound

    def _still_ours(self, came: list[Message]) -> list[Message]:
        """What is left of a call in which partitions were revoked: it may have taken their records before.

        Their new owner reads these too, and a broker would take the offsets: it asks for the group's
        generation, and not whose a partition is. Of one that was revoked and came back within the call,
        nobody can tell what was taken when: all is read again.
        """
        ours = [message for message in came if (message.topic(), message.partition()) not in self._gone]
        if len(ours) < len(came):
            log.info("%d records had been taken of partitions that then went", len(came) - len(ours))
        assigned = self._consumer.assignment() if len(ours) < len(came) else []
        if self._gone & _named(assigned):
            self._on_revoke(_named(assigned))
            self.rewind()
            return []
        return ours

    def _begin_anew(self, again: Record) -> None:
        """A record came that was taken before: forget all that is not committed, and go back to what is."""
        log.warning(
            "%s/%d: the client brought offset %d again: going back to what is committed",
            again.topic, again.partition, again.offset,
        )  # fmt: skip
        self._on_revoke(_named(self._consumer.assignment()))
        self.rewind()

    def _give_up(self, error: KafkaError) -> None:
        """The client has ended: go on with a new one, where it was only fenced.

        Raises:
            DataLossAvertedError: fenced by another worker of the same name.
            DependencyError: what it is will not go away.
        """
        if "group.instance.id" not in error.str():  # its code says only that it is fatal
            raise DependencyError("kafka", error.str())
        self._name.fenced(error.str())
        self._revoked(self._consumer, self._consumer.assignment())
        self._consumer.close()
        self._consumer = Consumer(self._configuration, logger=client_logger())
        self._paused = self._rewinding = False
        self._held = frozenset()
        self._subscribe()

    def _rewound(self) -> bool:
        try:
            committed = self._consumer.committed(self._consumer.assignment(), _ANSWER_S)
            for partition in committed:
                if partition.error is not None:  # not known, which is another thing than none
                    raise KafkaException(partition.error)
            for partition in committed:
                partition.offset = max(0, partition.offset)  # where retention has removed 0: the beginning
                self._consumer.seek(partition)
        except KafkaException as error:
            log.warning("could not go back to the committed offsets, trying again: %s", error)
            self._consume(1, random.uniform(0.1, 1.0))  # noqa: S311 - jitter
            return False
        self._rewinding = False
        return True

    def _sound(self, message: Message) -> bool:
        error = message.error()
        if error is None:
            return True
        if refused(error):
            raise refusal(error, self._kafka)
        if error.code() == KafkaError._FATAL or error.fatal():
            self._give_up(error)
            return False
        hint = "; `moodstream topics create` makes it" if error.code() == _UNKNOWN_TOPIC else ""
        log.warning("kafka: %s%s", error.str(), hint)
        return False

    def _assigned(self, _consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        """The client itself adds them to the assignment after this."""
        came = _named(partitions)
        self._forget(came)
        self._watch.assigned(came)

    def _revoked(self, _consumer: Consumer, partitions: list[KafkaTopicPartition]) -> None:
        """Also called while closing, when the client answers no more questions: nothing is asked here."""
        gone = _named(partitions)
        self._gone |= gone
        self._forget(gone)
        self._held -= gone
        self._stash = [
            message for message in self._stash if (message.topic(), message.partition()) not in gone
        ]
        self._on_revoke(gone)
        self._watch.revoked(gone)

    def _forget(self, partitions: Collection[TopicPartition]) -> None:
        """They begin where somebody else has committed."""
        for partition in partitions:
            self._reached.pop(partition, None)


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
            "max.poll.interval.ms": worker.max_poll_interval_ms,
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
        _headers(message),
    )


def _headers(message: Message) -> Headers:
    """The headers; none where a name is not UTF-8, on which the client fails (asked again, it crashes)."""
    try:
        headers = message.headers()
        return headers if isinstance(headers, list) else _NONE
    except (SystemError, UnicodeDecodeError):
        log.warning(
            "%s/%s/%s: its headers cannot be read", message.topic(), message.partition(), message.offset()
        )
        return _NONE


class _Watch:
    """Turns the client's callbacks into metrics, health and the one error that must stop us."""

    def __init__(self, settings: KafkaSettings, clock: Clock, metrics: Metrics, health: Health) -> None:
        self._settings = settings
        self._clock = clock
        self._health = health
        self._kafka = Dependency("kafka", clock, metrics, health)
        self._lag = metrics.gauge(m.CONSUMER_LAG)
        self._lag_seconds = metrics.gauge(m.CONSUMER_LAG_SECONDS)
        self._assigned = metrics.gauge(m.ASSIGNED)
        self._rebalances = metrics.counter(m.REBALANCES)
        self._last_taken: dict[TopicPartition, float] = {}
        self._owned: set[TopicPartition] = set()
        self._refused: KafkaError | None = None
        health.set("assignment", False)

    def raise_if_refused(self) -> None:
        """Turn what a callback has seen into an error of the thread that reads."""
        if self._refused is not None:
            raise refusal(self._refused, self._settings)

    def took(self, records: list[Record]) -> None:
        """Records were taken: remember how old the last of each partition is."""
        self._kafka.works()
        last = {(record.topic, record.partition): record.timestamp_ms for record in records}
        for partition, timestamp_ms in last.items():
            self._last_taken[TopicPartition(*partition)] = timestamp_ms / 1000

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
            self._refused = error
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
