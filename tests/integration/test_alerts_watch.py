"""From labels to recorded alerts: counts in memory, the ledger and the model mix on a real Redis."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import pytest
from redis import Redis

from tests.support.alerts import KEYS
from tests.support.labels import NOON, label
from worker import metrics as m
from worker.clock import ManualClock
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.settings import AlertSettings, RedisSettings
from worker.trends.alerts.deliver import Courier
from worker.trends.alerts.ledger import Ledger
from worker.trends.alerts.models import ModelMix
from worker.trends.alerts.service import AlertsDiedError, AlertsLoop, looking
from worker.trends.alerts.watch import SpikeWatch
from worker.trends.counting import Reading, aggregate, decode
from worker.trends.matcher import Matcher
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.queries import MemoryQueryStore, Query
from worker.trends.redis_connection import connected
from worker.trends.store import Limits, Position
from worker.types import Alert, Record

HOUR = 3600
USUAL = {"joy": 40, "anger": 12, "neutral": 60}
"""Posts of a usual hour."""
SETTINGS = AlertSettings(window_minutes=30, min_posts=12, weeks=1, reach_minutes=60)


class World:
    """A stream of labels, and the watch over it."""

    def __init__(self, client: Redis, settings: AlertSettings = SETTINGS) -> None:
        self.client, self.settings = client, settings
        self.clock = ManualClock(NOON)
        self.queries = MemoryQueryStore(self.clock)
        self.store = MemoryTrendStore(
            self.clock, Limits(1e9, 1e9, 1e9, samples=100, store_text=True), self.queries
        )
        self.position: Position | None = None
        self.offset = 0
        self.restart()

    def restart(self) -> None:
        """A new process, with nothing but what Redis has."""
        self.metrics = Metrics()
        self.ledger = Ledger(
            self.client, KEYS, channels=("kafka",), keep_s=10**6, max_kept=100, max_queued=100, lease_s=60
        )
        self.client.delete(KEYS.of("lease"))
        assert self.ledger.lead()
        self.mix = ModelMix(self.client, KEYS, 99 * HOUR)
        self.watch = SpikeWatch(
            self.store,
            self.queries.list,
            self.mix,
            self.ledger,
            settings=self.settings,
            clock=self.clock,
            metrics=self.metrics,
        )

    def write(self, at: int, posts: Mapping[str, int], *, over_s: int = HOUR, **more: Any) -> None:
        """So many posts of each label, evenly from `at` on."""
        records = []
        for emotion, n in posts.items():
            for number in range(n):
                value = label(
                    emotion,
                    at=at + over_s * number / n,
                    **{
                        "id": f"{emotion}-{self.offset}",
                        "input": f"tweets/0/{self.offset}",
                        "model": "a@1",
                        "text": "just a day like any other",
                        **more,
                    },
                )
                records.append(Record("emotion-labels", 0, self.offset, None, value, 0))
                self.offset += 1
        queries = Matcher({query.id: query.expression for query in self.queries.list()})
        decoded = decode(records, Reading(queries=queries))
        batch = aggregate(0, self.offset - len(records), self.offset, decoded.events)
        self.position = self.store.apply(batch, self.position).position
        self.mix.note(batch)
        self.mix.flush()

    def usual(self, start: int, end: int, **more: Any) -> None:
        for at in range(start, end, HOUR):
            self.write(at, USUAL, **more)

    def turn(self, at: int) -> list[Alert]:
        self.clock.now = at
        return self.watch.turn()

    def gauge(self, definition: m.Definition, *labels: str) -> float:
        found = self.metrics.gauge(definition)
        return float((found.labels(*labels) if labels else found)._value.get())


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(redis_server: RealRedis, closing: ExitStack) -> World:
    return World(closing.enter_context(connected(RedisSettings(url=redis_server.url, timeout_s=2))))


def test_a_spike_is_told_once_with_all_that_a_person_asks(world: World) -> None:
    world.usual(NOON - 10 * HOUR, NOON)
    world.write(NOON, {"joy": 20, "neutral": 30}, over_s=1800)
    world.write(NOON, {"anger": 40}, over_s=1800, text="the refund never came #refund 😡")

    [alert] = world.turn(NOON + 1800)

    assert (alert.kind, alert.emotion, alert.query) == ("emotion", "anger", None)
    assert NOON - 1800 < alert.window.start < alert.window.end <= NOON + 1800
    assert alert.window.end - alert.window.start == 1800
    assert alert.value >= 12
    assert alert.ratio == pytest.approx(alert.value / alert.baseline, rel=0.01)
    assert alert.ratio > 2
    assert alert.share_baseline == pytest.approx(12 / 112, rel=0.1)
    assert {"refund", "#refund", "😡"} <= set(alert.terms)
    assert all(str(sample).startswith("anger-") for sample in alert.samples)
    assert len(alert.samples) > 0
    assert alert.models == ("a@1",)
    assert alert.id == f"emotion/anger//{alert.window.end}"
    assert world.ledger.find(0, NOON + HOUR, 10) == [alert]
    assert world.metrics.counter(m.ALERTS).labels("emotion", "anger")._value.get() == 1
    assert world.gauge(m.ALERTS_JUDGED) == NOON + 1800

    assert world.turn(NOON + 1800) == []
    assert world.turn(NOON + 2100) == []
    world.restart()
    assert world.turn(NOON + 2100) == []


def test_usual_hours_are_no_news(world: World) -> None:
    world.usual(NOON - 10 * HOUR, NOON + 2 * HOUR)

    assert world.turn(NOON + 2 * HOUR) == []
    assert world.gauge(m.ALERTS_SILENT, "young") == 1  # the volume: it waits for three days


def test_a_general_rise_is_no_mood(world: World) -> None:
    world.usual(NOON - 10 * HOUR, NOON)
    world.write(NOON, {emotion: 3 * n for emotion, n in USUAL.items()})

    assert world.turn(NOON + HOUR) == []


def test_a_stream_that_has_just_begun_is_silent_and_says_so(world: World) -> None:
    world.usual(NOON - 4 * HOUR, NOON)
    world.write(NOON, {"anger": 60}, over_s=1800)

    assert world.turn(NOON + 1800) == []
    assert world.gauge(m.ALERTS_SILENT, "young") == 7


def test_a_new_model_is_no_mood(world: World) -> None:
    """It calls angry what was neutral: silent for six hours, then judged by what it says itself."""
    world.usual(NOON - 20 * HOUR, NOON)
    angry = {"joy": 40, "anger": 42, "neutral": 30}
    alerts, silent = [], []
    for hour in range(9):
        world.write(NOON + hour * HOUR, angry, model="b@2")
        alerts += world.turn(NOON + (hour + 1) * HOUR)
        silent.append(world.gauge(m.ALERTS_SILENT, "new_model"))
    assert alerts == []
    assert silent[:6] == [6] * 6
    assert silent[7:] == [0] * 2

    world.write(NOON + 9 * HOUR, {"joy": 20, "anger": 90, "neutral": 15}, over_s=1800, model="b@2")
    [alert] = world.turn(NOON + 9 * HOUR + 1800)
    assert (alert.emotion, alert.models) == ("anger", ("b@2",))
    assert alert.baseline == pytest.approx(21, rel=0.35)


def test_the_same_labels_by_the_old_model_are_a_mood(world: World) -> None:
    """What keeps the test above honest."""
    world.usual(NOON - 20 * HOUR, NOON)
    world.write(NOON, {"joy": 40, "anger": 42, "neutral": 30})

    assert [alert.emotion for alert in world.turn(NOON + HOUR)] == ["anger"]


def test_what_was_counted_late_is_found_late(world: World) -> None:
    world.usual(NOON - 10 * HOUR, NOON)
    assert world.turn(NOON + 2700) == []
    world.write(NOON, {"joy": 20, "anger": 40, "neutral": 30}, over_s=1800)

    [alert] = world.turn(NOON + 2700)
    assert alert.window.end <= NOON + 1800


def test_beyond_reach_it_is_not_looked_for(world: World) -> None:
    world.usual(NOON - 10 * HOUR, NOON)
    world.write(NOON, {"joy": 20, "anger": 40, "neutral": 30}, over_s=1800)

    assert world.turn(NOON + 3 * HOUR) == []


def test_an_emotion_about_a_query_names_it_and_speaks_of_its_posts(world: World) -> None:
    world.clock.now = NOON - 12 * HOUR
    world.queries.put(Query("brand", "acme"))
    for at in range(NOON - 11 * HOUR, NOON, HOUR):
        world.write(at, USUAL)
        world.write(at, {"joy": 30, "anger": 6, "neutral": 24}, text="acme as ever")
    world.write(NOON, {"joy": 20, "anger": 6, "neutral": 30}, over_s=1800)
    world.write(NOON, {"joy": 15, "neutral": 12}, over_s=1800, text="acme as ever")
    world.write(NOON, {"anger": 30}, over_s=1800, text="acme broke my screen")

    found = {(alert.query, alert.emotion): alert for alert in world.turn(NOON + 1800)}
    alert = found["brand", "anger"]
    assert alert.n < 60
    assert {"acme", "broke", "screen"} <= set(alert.terms)
    assert all(emotion == "anger" for _, emotion in found)

    world.queries.remove("brand")
    world.restart()
    assert world.turn(NOON + 1800) == []


def test_the_volume_of_a_query_is_judged_from_the_fourth_day_on(world: World) -> None:
    world.clock.now = NOON - 80 * HOUR
    world.queries.put(Query("brand", "acme"))
    for at in range(NOON - 79 * HOUR, NOON, HOUR):
        world.write(at, {"joy": 100})
        world.write(at, {"joy": 20}, text="acme")
    world.write(NOON, {"joy": 50}, over_s=1800)
    world.write(NOON, {"joy": 40}, over_s=1800, text="acme everywhere")

    [alert] = world.turn(NOON + 1800)
    assert (alert.kind, alert.query, alert.emotion) == ("volume", "brand", None)
    assert alert.n > alert.value
    assert alert.share_baseline == pytest.approx(1 / 6, rel=0.15)


class Broken(SpikeWatch):
    def turn(self) -> list[Alert]:
        raise RuntimeError("a fault of ours")


def loop_of(world: World) -> AlertsLoop:
    courier = Courier(world.ledger, {}, world.clock, world.metrics)
    return AlertsLoop(world.watch, courier, world.ledger, world.mix, every_s=0.01, clock=world.clock)


def test_a_fault_ends_the_role_visibly(world: World) -> None:
    world.watch.__class__ = Broken
    died = threading.Event()

    def work_until_told() -> None:
        with looking(loop_of(world), close_s=5, on_death=died.set):
            assert died.wait(10)

    with pytest.raises(AlertsDiedError):
        work_until_told()


def test_a_redis_that_is_away_is_waited_for_and_told_once(
    world: World, redis_server: RealRedis, caplog: pytest.LogCaptureFixture
) -> None:
    loop = loop_of(world)
    redis_server.kill()
    for _ in range(3):
        loop.run_once()
    assert len([line for line in caplog.messages if "wait for redis" in line]) == 1
    redis_server.start()
    loop.run_once()
    assert world.gauge(m.ALERTS_JUDGED) == NOON


def test_it_gives_its_lease_back(world: World) -> None:
    with looking(loop_of(world), close_s=5, on_death=lambda: None):
        pass
    assert not world.client.exists(KEYS.of("lease"))
