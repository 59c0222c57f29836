"""Labels in a real Kafka, counted by the real role into a real Redis: the spike is told once, everywhere."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import msgspec

from tests.support.kafka import KafkaUnderTest, unique
from tests.support.labels import label
from tests.support.receiver import receiving
from tests.support.waiting import eventually
from worker.clock import SystemClock
from worker.local.processes import free_port, listening
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.process import Stop
from worker.settings import Settings
from worker.trends.role import run
from worker.types import Alert

HOUR = 3600


def labels(now: float, score: float = 0.9) -> Iterator[bytes]:
    """Twelve usual hours, and in the last half hour five times the anger, with this confidence.

    Labels are compared with those before the hours that are looked at, which begin up to three and a half
    hours ago: of them 1,000 are wanted, whatever the minute of the hour.
    """
    for second in range(int(now - 12 * HOUR), int(now - 300), 30):
        yield label("joy", at=second)
        if second % 120 < 30:
            yield label("anger", at=second)
    for number in range(90):
        at, place = now - 300 - number * 15, f"tweets/0/{number}"
        yield label("anger", at=at, id=f"angry-{number}", input=place, score=score)


@contextmanager
def role(settings: Settings) -> Iterator[str]:
    """An instance of the role on a port of its own; its address, once it answers there.

    Not two at once: FastAPI hushes a warning for the whole process while it builds an application, and of two
    threads that do, one hears it.
    """
    http = settings.trends.http.model_copy(update={"port": free_port()})
    trends = settings.trends.model_copy(update={"http": http})
    stop = Stop(SystemClock())
    mine = settings.model_copy(update={"trends": trends})
    thread = threading.Thread(target=run, args=(mine, Metrics(), SystemClock(), stop))
    thread.start()
    try:
        eventually(lambda: listening(http.port), within_s=30)
        yield f"http://127.0.0.1:{http.port}"
    finally:
        stop.set()
        thread.join(20)
    assert not thread.is_alive()


def found(url: str) -> list[str]:
    try:
        answer = httpx.get(f"{url}/api/alerts", timeout=5)
    except httpx.TransportError:
        return []
    return [alert["id"] for alert in answer.json()["data"]["alerts"]] if answer.is_success else []


def test_a_spike_is_told_once_by_two_instances_and_after_a_restart(
    kafka: KafkaUnderTest, redis_server: RealRedis
) -> None:
    topic, alerts = kafka.topic("labels", partitions=2), kafka.topic("alerts")
    kafka.produce(topic, labels(time.time()))
    with receiving() as receiver:
        settings = Settings.model_validate(
            {
                "kafka": {"bootstrap_servers": kafka.bootstrap},
                "topics": {"labels": topic, "alerts": alerts},
                "redis": {"url": redis_server.url},
                "trends": {
                    "group_id": unique("trends"),
                    "alerts": {"every_s": 0.5, "min_posts": 20, "webhook_urls": receiver.url},
                },
            }
        )
        with role(settings) as one, role(settings) as other:
            [spike] = eventually(lambda: found(one), within_s=60)
            assert found(other) == [spike]
            eventually(lambda: receiver.got, within_s=10)
        with role(settings) as again:
            eventually(lambda: "moodstream_alerts_judged_timestamp_seconds 1" in metrics(again), within_s=20)
            assert found(again) == [spike]
            assert 'moodstream_alerts_total{emotion="anger",kind="emotion"} 0.0' in metrics(again)
        assert len(receiver.got) == 1

    [message] = kafka.read_all(alerts)
    alert = msgspec.json.decode(message.value() or b"", type=Alert)
    assert (message.key(), alert.id) == (spike.encode(), spike)
    assert (alert.kind, alert.emotion, alert.models) == ("emotion", "anger", ("test@1",))
    assert alert.ratio > 2


def test_anger_that_the_model_is_not_sure_of_is_a_drift_and_no_mood(
    kafka: KafkaUnderTest, redis_server: RealRedis
) -> None:
    """The same labels as above but for their confidence: nothing is told of a mood.

    All are counted before anything is found: of half of them too little is known of the model to tell a
    drift by, and their anger is a mood.
    """
    topic, alerts = kafka.topic("labels", partitions=2), kafka.topic("alerts")
    made = list(labels(time.time(), score=0.35))
    kafka.produce(topic, made)
    with receiving() as receiver:
        settings = Settings.model_validate(
            {
                "kafka": {"bootstrap_servers": kafka.bootstrap},
                "topics": {"labels": topic, "alerts": alerts},
                "redis": {"url": redis_server.url},
                "trends": {
                    "group_id": unique("trends"),
                    "alerts": {
                        "every_s": 0.5,
                        "min_posts": 20,
                        "drift_posts": 50,
                        "webhook_urls": receiver.url,
                    },
                },
            }
        )
        with role(finding_nothing(settings)) as url:
            eventually(lambda: counted_by(url) == len(made), within_s=60)
        with role(settings) as url:
            [drift] = eventually(lambda: found(url), within_s=60)
            eventually(lambda: receiver.got, within_s=10)
            told = eventually(
                lambda: re.findall(r"moodstream_drift_psi{(.*)} (\S+)", metrics(url)), within_s=10
            )
            counted = metrics(url)
        assert len(receiver.got) == 1
        assert b"Drift: confidence" in receiver.got[0][2]

    assert 'moodstream_alerts_total{emotion="anger",kind="emotion"} 0.0' in counted
    assert dict(told)['against="weeks",measure="confidence"'] > "0.2"
    [message] = kafka.read_all(alerts)
    alert = msgspec.json.decode(message.value() or b"", type=Alert)
    assert (message.key(), alert.id) == (drift.encode(), drift)
    assert (alert.kind, alert.measure, alert.models) == ("drift", "confidence", ("test@1",))
    assert alert.value > 0.2


def finding_nothing(settings: Settings) -> Settings:
    """The same role, for which no window holds enough."""
    alerts = settings.trends.alerts.model_copy(update={"min_posts": 10**6, "drift_posts": 10**6})
    return settings.model_copy(update={"trends": settings.trends.model_copy(update={"alerts": alerts})})


def counted_by(url: str) -> int:
    """How many labels an instance has counted."""
    found = re.findall(r"^moodstream_trends_labels_applied_total{.*} (\S+)$", metrics(url), re.MULTILINE)
    return int(sum(map(float, found)))


def metrics(url: str) -> str:
    try:
        return httpx.get(f"{url}/metrics", timeout=5).text
    except httpx.TransportError:
        return ""
