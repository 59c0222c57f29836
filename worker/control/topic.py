"""The control topic in Kafka: followed from its beginning without a group, and written to."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition

from worker.clock import backoff
from worker.control.messages import Setting
from worker.errors import DependencyError
from worker.settings import KafkaSettings
from worker.stream.connection import client_logger, librdkafka, onlooker
from worker.stream.refusal import refusal, refused

OnMessage = Callable[[bytes | None, bytes | None], None]
_POLL_S = 0.5
_ANSWER_S = 10.0
_CLOSE_S = 5.0
_AT_ONCE = 500
_NO_GROUP = KafkaError.GROUP_AUTHORIZATION_FAILED
"""Of no account: the client looks for the coordinator of a group that it never uses."""

log = logging.getLogger(__name__)


class ControlReader:
    """Hands every message of the topic to `on_message`, in a thread of its own, until it is closed.

    A topic that is not there, or that we may not read, sets nothing: the stream goes on without.
    """

    def __init__(self, kafka: KafkaSettings, topic: str, on_message: OnMessage) -> None:
        self._kafka = kafka
        self._on_message = on_message
        self._topic = topic
        self._closing = threading.Event()
        self.caught_up = threading.Event()
        """Set when all that was in the topic at the start is handed over, or there is nothing to read."""
        self.trouble: str | None = None
        """Why it cannot be read; None where it can."""
        self._consumer = Consumer(
            onlooker(
                kafka,
                f"{topic}-reader",  # never used: nothing is committed, nothing subscribed
                **{
                    "auto.offset.reset": "earliest",
                    "topic.metadata.refresh.interval.ms": 5000,
                    "error_cb": self._on_error,
                },
            ),
            logger=client_logger(),
        )
        self._thread = threading.Thread(target=self._run, name="control", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._consumer.assign([KafkaTopicPartition(self._topic, 0, OFFSET_BEGINNING)])
        self._thread.start()

    def close(self) -> None:
        """End; a thread that hangs in the client is left behind."""
        self._closing.set()
        if self._thread.is_alive():
            self._thread.join(_CLOSE_S)

    def _run(self) -> None:
        waits = backoff()
        self._look()
        while not self._closing.is_set():
            try:
                self._turn()
                waits = backoff()
            except KafkaException as error:
                log.warning("the control topic cannot be read, trying again: %s", error)
                self._closing.wait(next(waits))
            except Exception:
                log.exception("a control message could not be carried out; the stream goes on as it was")
        self._consumer.close()

    def _look(self) -> None:
        """Whether there is such a topic: the client itself would take half a minute to say no."""
        try:
            known = self._consumer.list_topics(timeout=_ANSWER_S).topics
        except KafkaException:
            return  # Kafka is away: the client goes on trying
        if self._topic not in known:
            self._failed("there is no such topic")

    def _turn(self) -> None:
        for message in self._consumer.consume(_AT_ONCE, _POLL_S):
            error = message.error()
            if error is None:
                self._on_message(message.key(), message.value())
            elif error.code() == KafkaError._PARTITION_EOF:
                self.trouble = None
                self.caught_up.set()
            elif error.code() != _NO_GROUP:
                self._failed(error.str())

    def _on_error(self, error: KafkaError) -> None:
        if refused(error) and error.code() != _NO_GROUP:
            self._failed(refusal(error, self._kafka, self._topic).reason)

    def _failed(self, reason: str) -> None:
        if self.trouble != reason:
            log.warning(
                "%s cannot be followed, so models are not swapped and nothing is paused: %s; "
                "`moodstream topics create` makes it, and a worker needs READ on it",
                self._topic,
                reason,
            )
        self.trouble = reason
        self.caught_up.set()


class ControlWriter:
    """Writes settings and reports; connects when it first does."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._kafka = kafka
        self._topic = topic
        self._producer: Producer | None = None
        self._refused: KafkaError | None = None

    def write(self, key: str, setting: Setting | None, *, within_s: float) -> None:
        """Write one message, and wait until Kafka has it. None takes the key's setting back.

        Raises:
            DependencyError: Kafka did not take it in time.
        """
        if self._producer is None:
            configuration = {
                "enable.idempotence": True,
                "message.timeout.ms": int(within_s * 1000),
                "error_cb": self._on_error,
            }
            self._producer = Producer(librdkafka(self._kafka, **configuration), logger=client_logger())
        failed: list[KafkaError] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            if error is not None:
                failed.append(error)

        value = None if setting is None else msgspec.json.encode(setting)
        try:
            self._producer.produce(self._topic, value, key.encode(), partition=0, on_delivery=delivered)
        except KafkaException as error:  # by then the client knows that there is no such topic
            failed.append(error.args[0])
        left = 1
        for _ in range(max(1, int(within_s / _POLL_S))):
            left = self._producer.flush(_POLL_S)
            if not left or self._refused is not None:
                break
        against_us = next(filter(refused, failed), self._refused)
        if against_us is not None:
            raise refusal(against_us, self._kafka, self._topic)
        if left or failed:
            reason = failed[0].str() if failed else f"no answer within {within_s:.0f} s"
            raise DependencyError("kafka", f"{self._topic}: {reason}; see `moodstream topics check`")

    def _on_error(self, error: KafkaError) -> None:
        if refused(error):
            self._refused = error
