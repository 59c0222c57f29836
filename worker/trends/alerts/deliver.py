"""From the ledger to whoever must have the alerts: Kafka's `emotion-alerts` and the webhooks.

Each channel has its own queue and its own retries: one that is away holds up no other.
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import msgspec
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from worker import metrics as m
from worker.clock import Clock, backoff
from worker.metrics import Metrics
from worker.settings import AlertSettings, KafkaSettings
from worker.stream.connection import client_logger, librdkafka
from worker.trends.alerts.ledger import KAFKA, Ledger, channel_of
from worker.trends.alerts.webhooks import Answer, Webhook
from worker.types import Alert

Send = Callable[[Alert, float], Answer]
"""One attempt at a time (epoch seconds)."""

_FIRST_WAIT_S, _LONGEST_WAIT_S = 1.0, 300.0
_BUDGET_S = 10.0
"""For one channel in one turn: the others wait as long."""
_KAFKA_S = 8.0

log = logging.getLogger(__name__)


def channel_kind(channel: str) -> str:
    """The channel as a metric's label: `kafka`, or `webhook` for every address."""
    return KAFKA if channel == KAFKA else "webhook"


class AlertTopic:
    """Alerts into Kafka, confirmed by all in-sync replicas, keyed by id so that readers can deduplicate."""

    def __init__(self, kafka: KafkaSettings, topic: str) -> None:
        self._topic = topic
        self._producer = Producer(
            librdkafka(
                kafka,
                **{
                    "acks": "all",
                    "enable.idempotence": True,
                    "delivery.timeout.ms": int(_KAFKA_S * 1000),
                    "error_cb": lambda error: log.debug("kafka: %s", error.str()),
                },
            ),
            logger=client_logger(),
        )

    def send(self, alert: Alert, _now: float) -> Answer:
        """Write one alert and wait for its confirmation."""
        told: list[KafkaError | None] = []

        def delivered(error: KafkaError | None, _message: Message) -> None:
            told.append(error)

        try:
            self._producer.produce(
                self._topic, key=alert.id.encode(), value=msgspec.json.encode(alert), on_delivery=delivered
            )
        except (KafkaException, BufferError) as error:
            return Answer("failed", str(error))
        self._producer.flush(_KAFKA_S + 2)
        if not told:
            return Answer("failed", "no confirmation")
        trouble = told[0]
        if trouble is None:
            return Answer("delivered")
        too_large = trouble.code() == KafkaError.MSG_SIZE_TOO_LARGE
        return Answer("refused" if too_large else "failed", trouble.str())


@dataclass
class _Channel:
    name: str
    send: Send
    due_at: float = 0.0
    """Monotonic seconds."""
    waits: Iterator[float] | None = None
    """While it is away."""
    rng: random.Random = field(default_factory=random.Random)

    def later(self, now: float, wait_s: float | None) -> None:
        """Wait a while, longer each time, and no shorter than it asked us to."""
        if self.waits is None:
            self.waits = backoff(first_s=_FIRST_WAIT_S, ceiling_s=_LONGEST_WAIT_S, rng=self.rng)
        self.due_at = now + max(next(self.waits), wait_s or 0.0)


class Courier:
    """Delivers what waits. Belongs to one thread, that of the instance that holds the ledger's lease."""

    def __init__(self, ledger: Ledger, channels: Mapping[str, Send], clock: Clock, metrics: Metrics) -> None:
        self._ledger = ledger
        self._channels = [_Channel(name, send) for name, send in channels.items()]
        self._clock = clock
        self._outcomes = metrics.counter(m.ALERTS_DELIVERED)
        self._waiting = metrics.gauge(m.ALERTS_WAITING)

    def turn(self) -> None:
        """Deliver as much as each channel takes now.

        Raises:
            StoreUnavailableError: Redis does not answer.
        """
        waiting: dict[str, int] = {}
        for channel in self._channels:
            self._empty(channel)
            kind = channel_kind(channel.name)
            waiting[kind] = waiting.get(kind, 0) + self._ledger.waiting(channel.name)
        for kind, n in waiting.items():
            self._waiting.labels(kind).set(n)

    def _empty(self, channel: _Channel) -> None:
        began = self._clock.monotonic()
        while channel.due_at <= (now := self._clock.monotonic()) < began + _BUDGET_S:
            alert = self._ledger.next_for(channel.name)
            if alert is None:
                return
            answer = channel.send(alert, self._clock.time())
            self._outcomes.labels(channel_kind(channel.name), answer.outcome).inc()
            if answer.outcome == "failed":
                if channel.waits is None:
                    log.warning("alerts: %s is away, keeping them: %s", channel.name, answer.reason)
                channel.later(now, answer.wait_s)
                return
            if answer.outcome == "refused":
                log.error("alerts: %s refuses %s: %s", channel.name, alert.id, answer.reason)
            if channel.waits is not None:
                log.info("alerts: %s takes them again", channel.name)
            channel.waits = None
            if not self._ledger.delivered(channel.name, alert):
                return  # another instance delivers now


def webhooks(settings: AlertSettings) -> dict[str, Webhook]:
    """Each webhook by its channel."""
    secret = None if settings.webhook_secret is None else settings.webhook_secret.get_secret_value()
    return {
        channel_of(url.get_secret_value()): Webhook(
            url.get_secret_value(), secret, settings.webhook_timeout_s
        )
        for url in settings.webhook_urls
    }
