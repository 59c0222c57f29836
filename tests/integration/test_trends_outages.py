"""Trends stay exact when Redis, Kafka, the topic or the process itself fails in the middle."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from tests.support.kafka import KafkaUnderTest, create_topic, unique
from tests.support.labels import counted
from tests.support.network import Network, Weather
from tests.support.roles import RoleProcess
from tests.support.trends import ALL, Counts, Reader, World, settled, turn_until
from tests.support.waiting import eventually
from worker.local.kafka import RealKafka
from worker.local.kafka_cluster import KafkaCluster
from worker.local.redis import RealRedis
from worker.settings import KafkaSettings, RedisSettings
from worker.trends.keys import Keys
from worker.trends.redis_store import RedisTrendStore, connected
from worker.trends.store import Limits


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(kafka: KafkaUnderTest, redis_server: RealRedis, closing: ExitStack) -> World:
    return World(kafka.bootstrap, kafka.topic("labels", partitions=3), redis_server, closing)


def test_redis_killed_and_started_in_the_middle(world: World) -> None:
    expected = world.write(3000, seed=4)
    reader = world.reader()
    turn_until([reader], lambda: reader.counts().total() > 500)
    world.redis.kill()
    for _ in range(10):
        reader.loop.run_once()
    assert reader.health.alive
    assert not reader.health.conditions()["redis"]
    assert reader.source.assigned == {0, 1, 2}
    expected += world.write(500, seed=5)
    world.redis.start()
    turn_until([reader], lambda: reader.health.conditions()["redis"])
    settled(reader, expected)


@pytest.mark.slow
def test_redis_hangs_and_does_late_what_it_was_asked(world: World) -> None:
    """The script runs after we stopped waiting for its answer."""
    expected = world.write(2000, seed=22)
    world.settings = world.settings.model_copy(
        update={"redis": RedisSettings(url=world.redis.url, timeout_s=0.3)}
    )
    with connected(world.settings.redis) as impatient:
        reader = Reader(world.settings, impatient)
        world.closing.callback(reader.source.close, 5)
        turn_until([reader], lambda: reader.counts().total() > 300)
        pid = world.redis.pid
        assert pid is not None
        for _ in range(3):
            os.kill(pid, signal.SIGSTOP)
            try:
                turn_until([reader], lambda: not reader.health.conditions()["redis"])
            finally:
                os.kill(pid, signal.SIGCONT)
            turn_until([reader], lambda: reader.health.conditions()["redis"])
            for _ in range(2):
                reader.loop.run_once()
        settled(reader, expected)


def test_redis_away_at_the_start(world: World) -> None:
    expected = world.write(300, seed=6)
    world.redis.kill()
    reader = world.reader()
    turn_until([reader], lambda: len(reader.source.assigned) == 3)
    assert not reader.health.conditions()["redis"]
    world.redis.start()
    turn_until([reader], lambda: reader.health.conditions()["redis"])
    settled(reader, expected)


@pytest.mark.parametrize("new_labels", [0, 400])
def test_redis_wiped_in_the_middle_is_rebuilt_to_the_same_numbers(world: World, new_labels: int) -> None:
    expected = world.write(1500, seed=7)
    reader = world.reader()
    settled(reader, expected)
    world.client.flushall()
    expected += world.write(new_labels, seed=8)
    settled(reader, expected)


@pytest.mark.slow
def test_a_topic_created_anew_is_counted_on_top(world: World, caplog: pytest.LogCaptureFixture) -> None:
    expected = world.write(1500, seed=12)
    reader = world.reader()
    settled(reader, expected)
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    admin.delete_topics([world.topic])[world.topic].result(20)
    turn_until([reader], lambda: not reader.source.assigned)
    eventually(lambda: world.topic not in admin.list_topics(timeout=10).topics)
    create_topic(world.bootstrap, world.topic, partitions=3)
    expected += world.write(200, seed=13)
    settled(reader, expected)
    assert "created anew" in caplog.text


def test_records_that_retention_took_are_passed_over(world: World, caplog: pytest.LogCaptureFixture) -> None:
    before = world.write(600, seed=14)
    first = world.reader()
    settled(first, before)
    first.source.close(5)
    world.write(600, seed=15)
    admin = AdminClient({"bootstrap.servers": world.bootstrap})
    ends = [TopicPartition(world.topic, number, -1) for number in range(3)]
    for deleted in admin.delete_records(ends).values():
        deleted.result(20)
    after = world.write(600, seed=16)
    settled(world.reader(), before + after)
    assert "retention has removed" in caplog.text


@pytest.mark.slow
def test_kafka_killed_and_started_in_the_middle(
    own_kafka: RealKafka, redis_server: RealRedis, closing: ExitStack
) -> None:
    create_topic(own_kafka.bootstrap, "labels", partitions=3)
    world = World(own_kafka.bootstrap, "labels", redis_server, closing)
    expected = world.write(1000, seed=17)
    reader = world.reader()
    turn_until([reader], lambda: reader.counts().total() > 0)
    own_kafka.kill()
    turn_until([reader], lambda: not reader.health.conditions()["kafka"])
    assert reader.health.alive
    own_kafka.start()
    turn_until([reader], lambda: reader.health.conditions()["kafka"])
    expected += world.write(500, seed=18)
    settled(reader, expected)


@pytest.mark.slow
def test_a_client_that_learns_late_where_the_log_ends_keeps_its_place(
    redis_server: RealRedis, closing: ExitStack
) -> None:
    """librdkafka follows an answer about the log's end even where it was placed elsewhere meanwhile."""
    network = closing.enter_context(Network())
    link = network.link(0)
    cluster = closing.enter_context(KafkaCluster(1, doors={"SLOW": [link.port]}))
    link.target_port = cluster.port("SLOW", 0)
    create_topic(cluster.bootstrap, "labels", partitions=3)
    world = World(cluster.bootstrap, "labels", redis_server, closing)
    expected = world.write(500, seed=23)
    first = world.reader()
    settled(first, expected)
    first.source.close(5)
    expected += world.write(500, seed=24)
    network.set(link, Weather(delay_s=0.3))
    slow = KafkaSettings(bootstrap_servers=f"127.0.0.1:{link.port}")
    world.settings = world.settings.model_copy(update={"kafka": slow})
    second = world.reader()
    turn_until([second], lambda: len(second.source.assigned) == 3)
    settled(second, expected)


def test_a_topic_that_comes_later_is_waited_for(
    kafka: KafkaUnderTest, redis_server: RealRedis, closing: ExitStack
) -> None:
    world = World(kafka.bootstrap, unique("later"), redis_server, closing)
    reader = world.reader()
    for _ in range(5):
        reader.loop.run_once()
    create_topic(kafka.bootstrap, world.topic, partitions=3)
    settled(reader, world.write(100))


@pytest.mark.slow
def test_the_process_killed_again_and_again_counts_once(world: World, tmp_path: Path) -> None:
    rng = random.Random(19)
    environment = {
        "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": world.bootstrap,
        "MOODSTREAM_TOPICS__LABELS": world.topic,
        "MOODSTREAM_REDIS__URL": world.redis.url,
        "MOODSTREAM_TRENDS__GROUP_ID": world.settings.trends.group_id,
        "MOODSTREAM_TRENDS__MAX_RECORDS": "20",
        "MOODSTREAM_TRENDS__SESSION_TIMEOUT_MS": "6000",
    }
    keys = Keys(world.settings.trends.namespace, world.topic)
    store = RedisTrendStore(world.client, keys, Limits(3600, max_sources=8))
    process = RoleProcess("trends", tmp_path / "trends.log", environment)
    world.closing.callback(process.kill)
    expected: Counts = Counter()
    for seed in (19, 20, 21):
        before = expected.total()
        expected += world.write(1500, seed=seed)
        process.start()
        eventually(lambda: store.read(ALL).n > before, within_s=20, every_s=0.01)  # noqa: B023
        time.sleep(rng.uniform(0, 0.1))
        process.kill()
    process.start()
    eventually(lambda: store.read(ALL).n >= expected.total(), within_s=20)
    eventually(process.ready)
    assert process.stop() == 0
    assert counted(store.read(ALL)) == expected
