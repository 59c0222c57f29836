"""Trends on a real Kafka and a real Redis: exact, whoever reads how often and wherever it is sent."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack

import httpx
import pytest
from confluent_kafka import TopicPartition

from tests.support.kafka import KafkaUnderTest, unique
from tests.support.labels import NOON
from tests.support.trends import Counts, World, settled, turn_until
from tests.support.waiting import eventually
from worker import metrics as m
from worker.clock import SystemClock
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.process import Stop
from worker.trends.rebuild import rebuild
from worker.trends.role import run


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(kafka: KafkaUnderTest, redis_server: RealRedis, closing: ExitStack) -> World:
    return World(kafka.bootstrap, kafka.topic("labels", partitions=3), redis_server, closing)


def test_only_committed_labels_are_counted_and_no_lag_is_left(world: World) -> None:
    expected = world.write(2000)
    reader = world.reader()
    settled(reader, expected)
    turn_until([reader], lambda: reader.metric(m.CONSUMER_LAG) == 0)

    def no_lag_for_who_watches() -> bool:
        reader.loop.run_once()
        asked = [TopicPartition(world.topic, number) for number in range(3)]
        offsets = [partition.offset for partition in reader.source._consumer.committed(asked, 10)]
        return offsets == [reader.source.bounds(number)[1] for number in range(3)]

    eventually(no_lag_for_who_watches)
    assert reader.health.conditions() == {"assignment": True, "kafka": True, "redis": True}
    assert reader.metric(m.TRENDS_APPLIED) == 2000


def test_a_new_reader_goes_on_from_redis_and_not_from_kafkas_group(world: World) -> None:
    expected = world.write(1000, seed=1)
    first = world.reader()
    settled(first, expected)
    first.source.close(5)
    world.settings = world.settings.model_copy(
        update={"trends": world.settings.trends.model_copy(update={"group_id": unique("other")})}
    )
    second = world.reader()
    expected += world.write(1000, seed=2)
    settled(second, expected)
    assert second.metric(m.TRENDS_APPLIED) == 1000


def test_rewinds_at_full_speed_lose_and_double_nothing(world: World) -> None:
    """What the client has fetched from the old place must not pass for records of the new one."""
    expected = world.write(8000, seed=3)
    reader, rng = world.reader(), random.Random(3)
    turn_until([reader], lambda: reader.counts().total() > 0)
    for _ in range(25):
        for partition in reader.source.assigned:
            if rng.random() < 0.5:
                reader.loop._places.pop(partition, None)
        if rng.random() < 0.3:
            world.client.flushall()
        reader.loop.run_once()
    settled(reader, expected)


def test_a_zombie_beside_its_successor_doubles_nothing(world: World) -> None:
    """Two groups read the same partitions into the same namespace: the worst that a zombie can do."""
    first = world.reader()
    world.settings = world.settings.model_copy(
        update={"trends": world.settings.trends.model_copy(update={"group_id": unique("zombie")})}
    )
    zombie = world.reader()
    expected: Counts = Counter()
    for seed in range(5):
        expected += world.write(300, seed=seed)
        n = expected.total()
        turn_until([first, zombie], lambda: first.counts().total() >= n)  # noqa: B023 - called at once
    settled(first, expected)
    for _ in range(5):
        zombie.loop.run_once()
    assert first.counts() == expected


def test_partitions_move_between_instances(world: World) -> None:
    first = world.reader()
    expected = world.write(500, seed=1)
    turn_until([first], lambda: len(first.source.assigned) == 3)
    second = world.reader()
    turn_until([first, second], lambda: len(first.source.assigned) + len(second.source.assigned) == 3
               and len(second.source.assigned) > 0)  # fmt: skip
    expected += world.write(500, seed=2)
    turn_until([first, second], lambda: first.counts().total() >= expected.total())
    second.source.close(5)
    expected += world.write(500, seed=3)
    turn_until([first], lambda: len(first.source.assigned) == 3)
    settled(first, expected)


def test_a_rebuild_under_a_running_reader_gives_the_same_numbers(world: World) -> None:
    expected = world.write(1500, seed=9)
    reader = world.reader()
    settled(reader, expected)
    stop = threading.Event()
    running = threading.Thread(target=reader.loop.run, args=(stop,))
    running.start()
    try:
        for seed in (10, 11):
            rebuilt = rebuild(world.settings)
            assert rebuilt.partitions == 3
            expected += world.write(300, seed=seed)
            eventually(lambda: reader.counts() == expected, within_s=20)  # noqa: B023 - called at once
    finally:
        stop.set()
        running.join(10)
    assert reader.counts() == expected


def test_the_role_serves_counts_and_ends_in_time(world: World) -> None:
    expected = world.write(500, seed=20)
    clock = SystemClock()
    stop = Stop(clock)
    role = threading.Thread(target=run, args=(world.settings, Metrics(), clock, stop))
    role.start()
    url = f"http://127.0.0.1:{world.settings.trends.http.port}"
    parameters = {"from": str(NOON), "to": str(NOON + 36_000), "step": "1h"}

    def n() -> int:
        answer = httpx.get(f"{url}/api/trends", params=parameters)
        return int(answer.json()["data"]["n"])

    try:
        eventually(lambda: _is_ready(url), within_s=20)
        eventually(lambda: n() >= expected.total(), within_s=20)
        assert n() == expected.total()
        metrics = httpx.get(f"{url}/metrics").text
        assert 'moodstream_dependency_up{dependency="kafka"} 1.0' in metrics
        assert 'moodstream_dependency_up{dependency="redis"} 1.0' in metrics
        world.redis.kill()
        eventually(lambda: httpx.get(f"{url}/api/trends", params=parameters).status_code == 503, within_s=10)
        eventually(lambda: not _is_ready(url))
        assert httpx.get(f"{url}/livez").status_code == 200
    finally:
        asked = time.monotonic()
        stop.set()
        role.join(20)
    assert not role.is_alive()
    assert time.monotonic() - asked < world.settings.trends.drain_s


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/readyz").status_code == 200
    except httpx.TransportError:
        return False
