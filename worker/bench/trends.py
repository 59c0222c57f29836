"""`moodstream bench trends`: how many labels a second the trends role counts, and how many its peers could.

A labels topic is filled first. Each system then reads it from the beginning, alone on the machine but for
Kafka and Redis. The role is a process of its own; how far it is stands in Redis, beside the counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from types import MappingProxyType
from typing import Literal, NamedTuple

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition
from redis import Redis
from rich.console import Console
from rich.progress import track

from worker.bench import labels as made
from worker.bench.stream import PARTITIONS, create, kafka
from worker.clock import SystemClock
from worker.errors import DependencyError
from worker.local.processes import ChildProcess
from worker.local.redis import RealRedis
from worker.settings import RedisSettings
from worker.trends.counting import CountedLabel
from worker.trends.keys import Keys
from worker.trends.queries import Query
from worker.trends.redis_connection import connected, text
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.store import Position

_AT_ONCE = 10_000
"""Records that a peer takes at a time, as `trends.max_records` is."""
_TRANSACTION = 4096
"""Labels that the worker writes in one transaction when it is behind."""
_LOOK_S = 0.05
_START_S = 120.0
_STILL_S = 60.0
_FLUSH_S = 120.0


class Speed(msgspec.Struct, frozen=True):
    """What one system did."""

    labels_per_s: float
    """After the first quarter, in which it starts and warms up."""
    labels: int
    """In the topic."""
    x_bare: float
    """Its speed as a multiple of the bare loop's on the same topic."""


class Found(msgspec.Struct, frozen=True):
    """The result of a run."""

    queries: int
    """Tracked where queries are on."""
    minutes: float
    """Of event time that the labels are spread over."""
    systems: dict[str, Speed]


class _How(NamedTuple):
    """How the role is run."""

    logs: Path
    terms: Literal["on", "off"]
    tracked: Mapping[str, str] = MappingProxyType({})
    """Expressions of queries by name."""


def run(
    texts: Sequence[str],
    *,
    bootstrap: str | None,
    records: int,
    minutes: float,
    queries: int,
    only: Sequence[str] = (),
) -> Found:
    """Measure every system, on `records` labels without text and on half as many with.

    Args:
        texts: Posts.
        bootstrap: A Kafka to use instead of starting one.
        records: Labels.
        minutes: Of event time that they are spread over, up to now.
        queries: How many are tracked where queries are on.
        only: Systems with one of these in their name, and the bare loops; else all.

    Raises:
        DependencyError: a server is missing, or the role does not come on.
    """
    tracked = made.queries(texts, queries)
    speeds: dict[str, dict[str, float]] = {}
    with (
        kafka(bootstrap) as servers,
        tempfile.TemporaryDirectory(prefix="moodstream-bench-") as logs,
    ):
        plain, full = (f"bench-{kind}-{time.time_ns()}" for kind in ("plain", "full"))
        sizes = {plain: records, full: max(1, records // 2)}
        for topic, n in sizes.items():
            fill(servers, topic, texts, n, minutes=minutes, with_text=topic == full)
        plainly, fully = _How(Path(logs), "off"), _How(Path(logs), "on")
        tracking = _How(Path(logs), "on", tracked)
        systems: dict[str, tuple[str, Callable[[str, int], float]]] = {
            "bare loop, no text": (plain, lambda topic, n: _bare(servers, topic, n)),
            "one HINCRBY a label, no text": (plain, lambda topic, n: _naive(servers, topic, n)),
            "trends, no terms": (plain, lambda topic, n: _role(servers, topic, n, plainly)),
            "bare loop, with text": (full, lambda topic, n: _bare(servers, topic, n)),
            "trends, terms": (full, lambda topic, n: _role(servers, topic, n, fully)),
            f"trends, terms and {len(tracked):,} queries": (
                full,
                lambda topic, n: _role(servers, topic, n, tracking),
            ),
        }
        for name in track(systems, console=Console(stderr=True), description="measuring"):
            topic, measure = systems[name]
            if only and not name.startswith("bare") and not any(words in name for words in only):
                continue
            speeds.setdefault(topic, {})[name] = measure(topic, sizes[topic])
    return Found(
        len(tracked),
        minutes,
        {
            name: Speed(round(speed, 1), sizes[topic], round(speed / next(iter(of_topic.values())), 3))
            for topic, of_topic in speeds.items()
            for name, speed in of_topic.items()
        },
    )


def fill(
    bootstrap: str, topic: str, texts: Sequence[str], n: int, *, minutes: float, with_text: bool
) -> None:
    """Write `n` labels of the last `minutes` into a new topic, in transactions as the worker does.

    Raises:
        DependencyError: Kafka does not take them.
    """
    create(bootstrap, topic)
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": topic, "linger.ms": 20})
    producer.init_transactions(_FLUSH_S)
    producer.begin_transaction()
    now = time.time()
    rows = made.labels(texts, n, start=now - 60 * minutes, end=now, with_text=with_text)
    for number, (key, value) in enumerate(
        track(rows, total=n, console=Console(stderr=True), description="filling", transient=True)
    ):
        if number and number % _TRANSACTION == 0:
            producer.commit_transaction(_FLUSH_S)
            producer.begin_transaction()
        producer.produce(topic, value, key)
    producer.commit_transaction(_FLUSH_S)


class _Pace:
    """Labels per second, from the first quarter on; of all where they come in one go."""

    def __init__(self, n: int) -> None:
        self._n = n
        self._since, self._before = time.perf_counter(), 0

    def speed(self, done: int) -> float | None:
        """The speed where all is done, else `None`."""
        now = time.perf_counter()
        if done >= self._n:
            return (done - self._before) / max(now - self._since, 1e-9)
        if not self._before and done >= self._n // 4:
            self._since, self._before = now, done
        return None


def _messages(bootstrap: str, topic: str, n: int) -> Iterator[list[bytes]]:
    """The values of a topic, some thousand at a time, as the role's own client brings them."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": f"{topic}-peer",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, partition, 0) for partition in range(PARTITIONS)])
    left, heard_at = n, time.monotonic()
    try:
        while left > 0:
            values = [message.value() or b"" for message in consumer.consume(_AT_ONCE, 0.2)]
            if values:
                left, heard_at = left - len(values), time.monotonic()
                yield values
            elif time.monotonic() - heard_at > _STILL_S:
                raise DependencyError("kafka", f"brought nothing for {_STILL_S:g} s, {left} labels missing")
    finally:
        consumer.close()


def _bare(bootstrap: str, topic: str, n: int) -> float:
    """Consume and decode, and nothing else: no reader of this topic in Python can be faster by much."""
    decode = msgspec.json.Decoder(CountedLabel).decode
    pace, done, speed = _Pace(n), 0, None
    for values in _messages(bootstrap, topic, n):
        for value in values:
            decode(value)
        done += len(values)
        speed = pace.speed(done)
    return speed or 0.0


def _naive(bootstrap: str, topic: str, n: int) -> float:
    """The obvious design: one command a label, pipelined; counts by minute and emotion, and nothing more."""
    decode = msgspec.json.Decoder(CountedLabel).decode
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    pace, done, speed = _Pace(n), 0, None
    with RealRedis() as redis, Redis.from_url(redis.url) as client:
        for values in _messages(bootstrap, topic, n):
            with client.pipeline(transaction=False) as pipeline:
                for value in values:
                    label = decode(value)
                    minute = int((label.created_at - epoch).total_seconds() // 60)
                    pipeline.hincrby(f"n:{minute // 60}", f"{minute % 60}|{label.label}", 1)
                pipeline.execute()
            done += len(values)
            speed = pace.speed(done)
    return speed or 0.0


def _role(bootstrap: str, topic: str, n: int, how: _How) -> float:
    """The real role on a Redis of its own."""
    name = f"trends-{time.time_ns()}"
    with RealRedis() as redis, connected(RedisSettings(url=redis.url)) as client:
        keys = Keys("moodstream", topic)
        store = RedisQueryStore(client, keys, SystemClock(), max(1, len(how.tracked)))
        for query, expression in how.tracked.items():
            store.put(Query(query, expression))
        process = ChildProcess(
            "trends",
            [sys.executable, "-m", "worker", "trends"],
            log=how.logs / f"{name}.log",
            env={
                "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
                "MOODSTREAM_TOPICS__LABELS": topic,
                "MOODSTREAM_REDIS__URL": redis.url,
                "MOODSTREAM_TRENDS__GROUP_ID": name,
                "MOODSTREAM_TRENDS__HTTP__PORT": "0",
                "MOODSTREAM_TRENDS__TERMS": how.terms,
            },
        )
        with _running(process):
            return _followed(lambda: _counted(client, keys), n, process)


@contextmanager
def _running(process: ChildProcess) -> Iterator[None]:
    try:
        process.start(lambda: True, within_s=_START_S)
        yield
    finally:
        process.kill()


def _followed(counted: Callable[[], int], n: int, process: ChildProcess) -> float:
    """Its speed.

    Raises:
        DependencyError: it ended, or has counted nothing for a minute.
    """
    pace, done, moved_at = _Pace(n), 0, time.monotonic()
    while True:
        now = counted()
        speed = pace.speed(now)
        if speed is not None:
            return speed
        if now > done:
            done, moved_at = now, time.monotonic()
        if not process.alive or time.monotonic() - moved_at > _STILL_S:
            raise DependencyError("trends", f"counted {done} of {n} labels: {process.output()[-2000:]}")
        time.sleep(_LOOK_S)


def _counted(client: Redis, keys: Keys) -> int:
    """How many offsets are counted; markers of transactions are one in a thousand of them."""
    stored = client.hgetall(keys.state)
    return sum(
        Position.parse(text(position)).offset
        for partition, position in stored.items()
        if text(partition) != "generation"
    )
