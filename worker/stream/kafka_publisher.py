"""Publishing to Kafka: records and input offsets in one transaction (KIP-447)."""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from contextlib import suppress
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition

from worker import metrics as m
from worker.clock import Clock, backoff
from worker.errors import DependencyError
from worker.metrics import Metrics
from worker.settings import KafkaSettings, TopicSettings, WorkerSettings
from worker.stream.connection import client_logger, librdkafka
from worker.stream.dead_letters import HEADER_ROOM
from worker.stream.edges import AbortedError
from worker.stream.fence import NameGuard
from worker.stream.refusal import refusal, refused
from worker.types import OutRecord, TopicPartition

_CALL_S = 5.0
"""One call to the cluster; a retriable time-out is followed by the next."""
_HANGS_S = 5.0
"""librdkafka up to 2.16 can hang in `send_offsets_to_transaction` after the group's coordinator was away, and
ignores the time-out given (its issues 5456 and 5511): past this the producer is given up for a new one."""
log = logging.getLogger(__name__)


class KafkaPublisher:
    """A transactional producer that commits its consumer group's offsets with what it sends.

    With `instance_id` the transactional id is that name, so that a restart fences a predecessor that hangs.
    Without, it is random: the group's generation fences a zombie's offsets (KIP-447), and the broker aborts
    what it left open after `transaction_timeout_ms`.

    `keep_waiting` is asked before each retry while the cluster is away.
    """

    def __init__(
        self,
        kafka: KafkaSettings,
        topics: TopicSettings,
        worker: WorkerSettings,
        *,
        group_metadata: Callable[[], Any],
        keep_waiting: Callable[[], bool],
        clock: Clock,
        metrics: Metrics,
        outputs: Sequence[str] | None = None,
        forgiving: bool = True,
    ) -> None:
        """`outputs`: the topics that are written; labels and dead letters where not given.

        `forgiving`: whether the first fencing of our name is taken for a lost answer (see `NameGuard`).
        """
        self._kafka = kafka
        self._outputs = tuple(outputs or (topics.labels, topics.dead_letters))
        self._configuration = librdkafka(
            kafka,
            **{
                "transactional.id": f"{worker.group_id}-{worker.instance_id or uuid.uuid4()}",
                "transaction.timeout.ms": worker.transaction_timeout_ms,
                "message.max.bytes": topics.max_message_bytes + HEADER_ROOM,
                "queue.buffering.max.messages": 200_000,
                "linger.ms": 5,
                # The first pause; it doubles up to a second. In one transaction of 200 the broker has not yet
                # finished the one before, and says so: by itself the client then waits 100 ms.
                "retry.backoff.ms": 10,
                "error_cb": self._on_error,
            },
        )
        self._name = None if worker.instance_id is None else NameGuard(clock, forgiving=forgiving)
        self._timeout_s = worker.transaction_timeout_ms / 1000
        self._began = 0.0
        self._group_metadata = group_metadata
        self._keep_waiting = keep_waiting
        self._clock = clock
        self._retries = metrics.counter(m.RETRIES).labels("kafka")
        self._refused: KafkaError | None = None
        self._producer: Producer | None = None

    def open(self) -> None:
        """Connect, waiting for the cluster as long as it takes or until told to give up.

        Raises:
            AbortedError: told to give up.
            DependencyError: the cluster refuses us, or cannot do transactions.
        """
        if self._producer is None:
            producer = Producer(self._configuration, logger=client_logger())
            try:
                self._call(producer, producer.init_transactions)
            except KafkaException as error:
                raise DependencyError("kafka", f"no transactions: {error.args[0].str()}") from error
            self._check_outputs(producer)
            self._producer = producer

    @property
    def lost(self) -> bool:
        """Whether the next publication begins under our name anew, which fences whoever has it by then."""
        return self._producer is None

    def publish(
        self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int], note: str = ""
    ) -> None:
        """As `Publisher` says; `note` is committed beside each position."""
        self.open()
        producer = self._producer
        assert producer is not None  # noqa: S101
        offsets = [KafkaTopicPartition(*partition, offset, note) for partition, offset in positions.items()]
        metadata = self._group_metadata()
        try:
            self._began = self._clock.monotonic()
            producer.begin_transaction()
            _produce(producer, records)
            self._call(
                producer,
                lambda s: _within(
                    _HANGS_S, lambda: producer.send_offsets_to_transaction(offsets, metadata, s)
                ),
            )
            self._call(producer, producer.commit_transaction)
        except KafkaException as error:
            self._abort(producer, error.args[0])
        except TimeoutError as error:
            # Its successor has the same transactional id: the broker aborts what it left open.
            self._producer = None
            raise AbortedError("kafka did not take the offsets in time") from error

    def close(self) -> None:
        """Every publication was confirmed before `publish` returned: nothing is left to flush."""
        self._producer = None

    def _call(self, producer: Producer, call: Callable[[float], Any]) -> None:
        """One call of the transactional API, again for as long as its error says that again is right.

        Raises:
            KafkaException: an error that is not retriable.
            DependencyError: the cluster refuses us.
            AbortedError: told to give up.
        """
        for wait_s in backoff():
            try:
                call(_CALL_S)
            except KafkaException as error:
                reason: KafkaError = error.args[0]
                with suppress(KafkaException):  # a fatal error is raised here once more
                    producer.poll(0)  # serves the error callback
                if self._refused is not None or refused(reason):
                    raise refusal(self._refused or reason, self._kafka) from error
                if not reason.retriable():
                    raise
                if not self._keep_waiting():
                    raise AbortedError(f"gave up waiting for kafka: {reason.str()}") from error
                log.warning("kafka: %s; trying again in %.1f s", reason.str(), wait_s)
                self._retries.inc()
                self._clock.sleep(wait_s)
            else:
                return

    def _check_outputs(self, producer: Producer) -> None:
        """Say at once, and not with the first dead letter, that we may not write; ask no more than that.

        Raises:
            DependencyError: the cluster refuses us.
        """
        for topic in self._outputs:
            try:
                error = producer.list_topics(topic, _CALL_S).topics[topic].error
            except KafkaException as away:
                log.debug("kafka: could not ask for %s: %s", topic, away)
                return
            if error is not None and refused(error):
                raise refusal(error, self._kafka, topic)

    def _abort(self, producer: Producer, reason: KafkaError) -> None:
        """Undo the open transaction, then say so; a producer that cannot is given up for a new one.

        Raises:
            AbortedError: nothing was published.
            DependencyError: the cluster refuses us.
            DataLossAvertedError: another worker has our name.
        """
        self._check_name(reason)
        if reason.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            raise DependencyError(
                "kafka",
                "a topic takes no records as large as topics.max_message_bytes says: "
                "`moodstream topics check` shows which, `moodstream topics create` mends it",
            )
        if reason.fatal():
            self._producer = None
        else:
            try:
                self._call(producer, producer.abort_transaction)
            except KafkaException as error:
                self._check_name(error.args[0])
                log.warning("kafka: the transaction could not be aborted: %s", error.args[0].str())
                self._producer = None
        if refused(reason):
            raise refusal(reason, self._kafka, " or ".join(self._outputs))
        raise AbortedError(reason.str())

    def _check_name(self, reason: KafkaError) -> None:
        """Whether an error means that another worker has our name.

        The broker also fences whose transaction it has aborted because it was open for too long.

        Raises:
            DataLossAvertedError: it does.
        """
        overdue = self._clock.monotonic() - self._began >= self._timeout_s
        if reason.code() == KafkaError._FENCED and self._name is not None and not overdue:
            self._name.fenced(reason.str())

    def _on_error(self, error: KafkaError) -> None:
        if refused(error):
            self._refused = error
        else:
            log.debug("kafka: %s", error.str())


def _produce(producer: Producer, records: Sequence[OutRecord]) -> None:
    """Hand every record to librdkafka's queue, waiting where it is full."""
    produce = producer.produce
    for topic, key, value, headers, partition in records:
        while True:
            try:
                if headers or partition >= 0:
                    produce(topic, value, key, partition, headers=headers)
                else:  # a third of the call's time, also where there are none
                    produce(topic, value, key)
            except BufferError:
                producer.poll(0.1)
            else:
                break


def _within(seconds: float, call: Callable[[], None]) -> None:
    """Run a call that may never return; the thread of one that does not is left behind.

    Raises:
        TimeoutError: it has not returned in time.
        KafkaException: its own.
    """
    outcome: Future[None] = Future()

    def run() -> None:
        try:
            call()
        except BaseException as error:
            outcome.set_exception(error)
        else:
            outcome.set_result(None)

    threading.Thread(target=run, name="send-offsets", daemon=True).start()
    outcome.result(seconds)
