"""Trends on a real Kafka and a real Redis: exact whatever is killed, restarted, wiped or created anew."""

from __future__ import annotations

import os
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from tests.support.kafka import KafkaUnderTest, create_topic, unique
from tests.support.labels import NOON, counted, label
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from worker import metrics as m
from worker.clock import SystemClock
from worker.local.kafka import RealKafka
from worker.local.processes import free_port
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.process import Stop
from worker.settings import (
    KafkaSettings,
    RedisSettings,
    Settings,
    TopicSettings,
    TrendsHttpSettings,
    TrendsSettings,
)
from worker.trends.dependency import Dependency
from worker.trends.keys import Keys
from worker.trends.loop import TrendsLoop
from worker.trends.rebuild import rebuild
from worker.trends.redis_store import RedisTrendStore, connected
from worker.trends.role import run
from worker.trends.source import KafkaLabelSource
from worker.trends.windows import Window
from worker.types import LABELS
from worker.web.health import Health

ALL = Window(NOON, NOON + 86_400, 60)
Counts = Counter[tuple[int, str]]


def write(bootstrap: str, topic: str, n: int, *, partitions: int = 3, seed: int = 0) -> Counts:
    """Write labels as the worker does, in transactions, some of which abort; answers what must be counted."""
    rng = random.Random(seed)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": unique("writer")})
    producer.init_transactions(30)
    expected: Counts = Counter()
    while n > 0:
        committed = rng.random() > 0.2
        size = min(n, rng.randrange(1, 200))
        producer.begin_transaction()
        for _ in range(size):
            minute, emotion = NOON + 60 * rng.randrange(600), rng.choice(LABELS)
            value = label(emotion, rng.choice(["tweets", "feedback"]), minute + rng.random() * 59)
            producer.produce(topic, value, partition=rng.randrange(partitions))
            expected[minute, emotion] += committed
        if committed:
            producer.commit_transaction(30)
            n -= size
        else:
            producer.flush(30)  # so that what is aborted is really in the log
            producer.abort_transaction(30)
    return +expected


class Reader:
    """One instance of the role without its process: source, store and loop, turned by the test."""

    def __init__(self, settings: Settings, client: Redis) -> None:
        self.topic = settings.topics.labels
        clock, self.metrics = SystemClock(), Metrics()
        self.health = Health(clock, 60, ("assignment", "kafka", "redis"))
        self.store = RedisTrendStore(
            client, Keys(settings.trends.namespace, self.topic), retention_s=3600, max_sources=8
        )
        self.source = KafkaLabelSource(
            settings.kafka,
            settings.trends,
            self.topic,
            dependency=Dependency("kafka", clock, self.metrics, self.health),
            metrics=self.metrics,
        )
        self.loop = TrendsLoop(
            self.source,
            self.store,
            topic=self.topic,
            max_records=settings.trends.max_records,
            redis=Dependency("redis", clock, self.metrics, self.health),
            clock=clock,
            metrics=self.metrics,
            health=self.health,
        )

    def counts(self) -> Counts:
        return counted(self.store.read(ALL))

    def metric(self, definition: m.Definition) -> float:
        """The sum over all series."""
        return sum(
            sample.value
            for family in self.metrics.registry.collect()
            for sample in family.samples
            if sample.name == definition.exposed
        )


class World:
    """A topic, a Redis, and readers of one group."""

    def __init__(self, bootstrap: str, topic: str, redis: RealRedis, closing: ExitStack) -> None:
        self.bootstrap, self.topic, self.redis = bootstrap, topic, redis
        self.settings = Settings(
            kafka=KafkaSettings(bootstrap_servers=bootstrap),
            topics=TopicSettings(labels=topic),
            redis=RedisSettings(url=redis.url, timeout_s=2),
            trends=TrendsSettings(
                group_id=unique("trends"),
                max_records=500,
                session_timeout_ms=6000,
                http=TrendsHttpSettings(port=free_port()),
            ),
        )
        self.closing = closing
        self.client = closing.enter_context(connected(self.settings.redis))

    def reader(self) -> Reader:
        reader = Reader(self.settings, self.client)
        self.closing.callback(reader.source.close, 5)
        return reader

    def write(self, n: int, seed: int = 0) -> Counts:
        return write(self.bootstrap, self.topic, n, seed=seed)


@pytest.fixture
def closing() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def world(kafka: KafkaUnderTest, redis_server: RealRedis, closing: ExitStack) -> World:
    return World(kafka.bootstrap, kafka.topic("labels", partitions=3), redis_server, closing)


def turn_until(readers: Sequence[Reader], done: Callable[[], bool], within_s: float = 40) -> None:
    deadline = time.monotonic() + within_s
    while not done():
        assert time.monotonic() < deadline, [reader.counts().total() for reader in readers]
        for reader in readers:
            reader.loop.run_once()


def settled(reader: Reader, expected: Counts) -> None:
    """Turn until all is counted, and some turns more: nothing may be counted twice."""
    turn_until([reader], lambda: reader.counts().total() >= expected.total())
    for _ in range(3):
        reader.loop.run_once()
    assert reader.counts() == expected


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
    store = RedisTrendStore(world.client, keys, retention_s=3600, max_sources=8)
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
        assert httpx.get(f"{url}/api/trends", params=parameters).status_code == 503
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
