"""Recorded alerts reach Kafka and the webhooks, also after either was away."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from redis import Redis

from tests.support.alerts import HOUR, KEYS, alert
from tests.support.kafka import KafkaUnderTest
from tests.support.receiver import Receiver, receiving
from worker import metrics as m
from worker.clock import ManualClock
from worker.local.processes import free_port
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.settings import AlertSettings, KafkaSettings, RedisSettings
from worker.trends.alerts.deliver import AlertTopic, Courier, Send, webhooks
from worker.trends.alerts.ledger import KAFKA, Ledger
from worker.trends.alerts.webhooks import Answer
from worker.trends.redis_connection import connected
from worker.types import Alert


@pytest.fixture
def client(redis_server: RealRedis) -> Iterator[Redis]:
    with connected(RedisSettings(url=redis_server.url, timeout_s=2)) as client:
        yield client


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


class World:
    """A ledger and a courier."""

    def __init__(self, client: Redis, channels: dict[str, Send]) -> None:
        self.clock, self.metrics = ManualClock(), Metrics()
        self.ledger = Ledger(
            client,
            KEYS,
            channels=channels,
            keep_s=24 * HOUR,
            max_kept=100,
            max_queued=100,
            lease_s=60,
        )
        assert self.ledger.lead()
        self.courier = Courier(self.ledger, channels, self.clock, self.metrics)

    def record(self, *ends: int) -> None:
        for end in ends:
            assert self.ledger.record(*alert(end * HOUR), 0).outcome == "new"

    def outcomes(self, channel: str) -> dict[str, float]:
        counter = self.metrics.counter(m.ALERTS_DELIVERED)
        return {
            outcome: n
            for outcome in ("delivered", "refused", "failed")
            if (n := counter.labels(channel, outcome)._value.get())
        }

    def waiting(self, channel: str) -> float:
        return float(self.metrics.gauge(m.ALERTS_WAITING).labels(channel)._value.get())


def hook(*urls: str) -> dict[str, Send]:
    settings = AlertSettings.model_validate({"webhook_urls": ",".join(urls), "webhook_timeout_s": 1})
    return {name: webhook.send for name, webhook in webhooks(settings).items()}


def test_kafka_has_each_alert_under_its_id(kafka: KafkaUnderTest, client: Redis) -> None:
    topic = kafka.topic("alerts")
    world = World(client, {KAFKA: AlertTopic(kafka.settings, topic).send})
    world.record(1, 2)
    world.courier.turn()
    world.courier.turn()

    found = [(message.key(), msgspec.json.decode(message.value() or b"", type=Alert))
             for message in kafka.read_all(topic)]  # fmt: skip
    assert found == [(alert(end * HOUR)[0].id.encode(), alert(end * HOUR)[0]) for end in (1, 2)]
    assert world.outcomes("kafka") == {"delivered": 2}
    assert world.waiting("kafka") == 0


def test_a_kafka_that_is_away_holds_up_no_webhook(
    client: Redis, receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.trends.alerts.deliver._KAFKA_S", 0.5)
    away = KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}")
    world = World(client, {KAFKA: AlertTopic(away, "alerts").send, **hook(receiver.url)})
    world.record(1)
    world.courier.turn()

    assert len(receiver.got) == 1
    assert world.outcomes("kafka") == {"failed": 1}
    assert (world.waiting("kafka"), world.waiting("webhook")) == (1, 0)
    assert any("kafka is away" in line for line in caplog.messages)


def test_a_webhook_that_is_away_is_tried_again_later_and_later(client: Redis, receiver: Receiver) -> None:
    world = World(client, hook(receiver.url))
    world.record(1, 2)
    receiver.statuses = [(503, {}), (429, {"Retry-After": "120"})]
    world.courier.turn()
    world.courier.turn()  # not due yet
    assert len(receiver.got) == 1
    world.clock.sleep(1)
    world.courier.turn()
    assert len(receiver.got) == 2
    world.clock.sleep(119)
    world.courier.turn()
    assert len(receiver.got) == 2
    assert world.waiting("webhook") == 2
    world.clock.sleep(2)
    world.courier.turn()

    ids = [headers["Idempotency-Key"] for _, headers, _ in receiver.got]
    first, second = (alert(end * HOUR)[0].id for end in (1, 2))
    assert ids == [first, first, first, second]
    assert world.outcomes("webhook") == {"failed": 2, "delivered": 2}
    assert world.waiting("webhook") == 0


def test_what_is_refused_makes_way(client: Redis, receiver: Receiver) -> None:
    world = World(client, hook(receiver.url))
    world.record(1, 2)
    receiver.statuses = [(400, {})]
    world.courier.turn()

    assert world.outcomes("webhook") == {"refused": 1, "delivered": 1}
    assert world.waiting("webhook") == 0


def test_each_webhook_has_its_own_queue(client: Redis, receiver: Receiver) -> None:
    with receiving() as other:
        world = World(client, hook(other.url, receiver.url))
        other.statuses = [(500, {})] * 9
        world.record(1, 2)
        world.courier.turn()

        assert (len(other.got), len(receiver.got)) == (1, 2)
        assert world.waiting("webhook") == 2


def test_a_successor_delivers_what_was_left(client: Redis, receiver: Receiver) -> None:
    def dies(_alert: Alert, _now: float) -> Answer:
        raise KeyboardInterrupt

    [(name, send)] = hook(receiver.url).items()
    world = World(client, {name: dies})
    world.record(1)
    with pytest.raises(KeyboardInterrupt):
        world.courier.turn()
    world.ledger.let_go()
    successor = World(client, {name: send})
    successor.courier.turn()

    assert len(receiver.got) == 1


def test_addresses_stay_out_of_the_log(
    client: Redis, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(client, hook(receiver.url))
    world.record(1, 2)
    receiver.statuses = [(500, {}), (400, {})]
    world.courier.turn()
    world.clock.sleep(5)
    world.courier.turn()

    assert caplog.messages
    assert not any("secret-path" in line or "127.0.0.1" in line for line in caplog.messages)
