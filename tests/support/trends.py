"""The trends role on a real Kafka and a real Redis, turn by turn."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from confluent_kafka import Producer
from redis import Redis

from tests.support.kafka import unique
from tests.support.labels import NOON, counted, label
from worker import metrics as m
from worker.clock import SystemClock
from worker.dependency import Dependency
from worker.local.processes import free_port
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.settings import (
    KafkaSettings,
    RedisSettings,
    Settings,
    TopicSettings,
    TrendsHttpSettings,
    TrendsSettings,
)
from worker.trends.keys import Keys
from worker.trends.live.feed import RedisLiveFeed, Sampler
from worker.trends.loop import TrendsLoop
from worker.trends.redis_store import RedisTrendStore, connected
from worker.trends.source import KafkaLabelSource
from worker.trends.store import Limits
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
        keys = Keys(settings.trends.namespace, self.topic)
        self.store = RedisTrendStore(client, keys, Limits(3600, max_sources=8))
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
            feed=RedisLiveFeed(client, keys.live, Sampler(self.topic, clock)),
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
