"""Single records that somebody waits for: by all replicas in sync, and once, before `write` returns."""

from __future__ import annotations

import logging
import threading
from concurrent.futures import Future
from typing import NamedTuple

from confluent_kafka import KafkaError, KafkaException, Message, Producer

from worker.clock import Clock
from worker.errors import DependencyError
from worker.settings import KafkaSettings
from worker.stream.connection import client_logger, librdkafka

WITHIN_S = 5.0
"""How long somebody waits for Kafka."""
_LATE_S = 2.0
"""After that librdkafka itself gives a message up; where it does not say so by then, it hangs."""
_POLL_S = 0.05
_MOST_WAITING = 1000

log = logging.getLogger(__name__)


class Written(NamedTuple):
    """Where a record is."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


class ConfirmedWriter:
    """Threads may share it.

    The producer is made for the first record, and anew after an error that it does not get over.
    """

    def __init__(self, kafka: KafkaSettings, clock: Clock, *, what: str, within_s: float = WITHIN_S) -> None:
        """`what`: the records are, for the log."""
        self._configuration = librdkafka(
            kafka,
            **{
                "acks": "all",
                "enable.idempotence": True,
                "message.timeout.ms": int(within_s * 1000),
                "linger.ms": 0,
                "queue.buffering.max.messages": _MOST_WAITING,
            },
        )
        self._clock = clock
        self._what = what
        self._within_s = within_s
        self._lock = threading.Lock()
        self._producer: Producer | None = None

    def write(self, topic: str, value: bytes, key: bytes | None) -> Written:
        """Returns once the record is safe.

        Raises:
            DependencyError: it may or may not be.
        """
        producer, written = self._open(), Future[Written]()

        def delivered(error: KafkaError | None, message: Message) -> None:
            if error is not None:
                written.set_exception(KafkaException(error))
            else:
                written.set_result(Written(topic, message.partition() or 0, message.offset() or 0))

        try:
            producer.produce(topic, value, key, on_delivery=delivered)
            self._wait(producer, written)
            return written.result(0)
        except (KafkaException, BufferError, TimeoutError) as error:
            self._give_up(producer, topic, error)
            raise DependencyError("kafka", f"{self._what} was not confirmed: {error}") from error

    def close(self) -> None:
        """Nothing is left to flush: every `write` has had its answer."""
        with self._lock:
            self._producer = None

    def _open(self) -> Producer:
        with self._lock:
            if self._producer is None:
                self._producer = Producer(self._configuration, logger=client_logger())
            return self._producer

    def _wait(self, producer: Producer, written: Future[Written]) -> None:
        """Serve callbacks, ours or another thread's, until ours has come or is overdue."""
        deadline = self._clock.monotonic() + self._within_s + _LATE_S
        while not written.done() and self._clock.monotonic() < deadline:
            producer.poll(_POLL_S)

    def _give_up(self, producer: Producer, topic: str, error: Exception) -> None:
        log.warning("%s: %s was not confirmed: %s", topic, self._what, error)
        reason = error.args[0] if isinstance(error, KafkaException) else None
        if isinstance(error, TimeoutError) or (isinstance(reason, KafkaError) and reason.fatal()):
            with self._lock:
                if self._producer is producer:
                    self._producer = None
