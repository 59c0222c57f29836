"""What the loop may rely on, on every source and publisher: in memory and on a real Kafka."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field
from typing import Protocol

import pytest

from tests.support.kafka import KafkaUnderTest, unique
from worker.clock import SystemClock
from worker.metrics import Metrics
from worker.settings import TopicSettings, WorkerSettings
from worker.stream.edges import Publisher, Source
from worker.stream.fair import client_options, fair
from worker.stream.kafka_publisher import KafkaPublisher
from worker.stream.kafka_source import KafkaSource
from worker.stream.memory import MemoryLog, MemoryPublisher, MemorySource
from worker.types import OutRecord, Record, TopicPartition
from worker.web.health import Health


class Edges(Protocol):
    """One implementation of the edges, over one input topic of two partitions."""

    topic: str
    out: str

    def put(self, partition: int, *values: bytes | None) -> None: ...
    def open(self) -> tuple[Source, Publisher]: ...
    def published(self) -> list[bytes | None]: ...


@dataclass
class MemoryEdges:
    topic: str = "in"
    out: str = "out"
    log: MemoryLog = field(default_factory=MemoryLog)

    def put(self, partition: int, *values: bytes | None) -> None:
        for value in values:
            self.log.append(self.topic, value, key=b"k", partition=partition)

    def open(self) -> tuple[Source, Publisher]:
        return MemorySource(self.log), MemoryPublisher(self.log)

    def published(self) -> list[bytes | None]:
        return [record.value for record in self.log.published]


class KafkaEdges:
    fair = False

    def __init__(self, kafka: KafkaUnderTest) -> None:
        self._kafka = kafka
        self.topic = kafka.topic("in", partitions=2)
        self.out = kafka.topic("out")
        self._worker = WorkerSettings(group_id=unique("group"))
        self._opened: list[KafkaSource] = []

    def put(self, partition: int, *values: bytes | None) -> None:
        from confluent_kafka import Producer

        producer = Producer({"bootstrap.servers": self._kafka.bootstrap})
        for value in values:
            producer.produce(self.topic, value, b"k", partition)
        producer.flush(10)

    def open(self) -> tuple[Source, Publisher]:
        clock, metrics = SystemClock(), Metrics()
        settings = self._kafka.settings
        source = KafkaSource(
            settings,
            self._worker,
            (self.topic,),
            clock=clock,
            metrics=metrics,
            health=Health(clock, 60, ()),
            client_options=client_options(64) if self.fair else None,
        )
        publisher = KafkaPublisher(
            settings,
            TopicSettings(),
            self._worker,
            group_metadata=source.group_metadata,
            keep_waiting=lambda: True,
            clock=clock,
            metrics=metrics,
        )
        self._opened.append(source)
        return fair(source, {self.topic: 3}, 64) if self.fair else source, publisher

    def published(self) -> list[bytes | None]:
        return [message.value() for message in self._kafka.read_all(self.out)]

    def close(self) -> None:
        for source in self._opened:
            source.close()


class FairKafkaEdges(KafkaEdges):
    """With weights."""

    fair = True


@pytest.fixture(params=["memory", "kafka", "kafka by weights"])
def edges(request: pytest.FixtureRequest) -> Iterator[Edges]:
    if request.param == "memory":
        yield MemoryEdges()
        return
    made = KafkaEdges if request.param == "kafka" else FairKafkaEdges
    kafka = made(request.getfixturevalue("kafka"))
    yield kafka
    kafka.close()


def ignore(partitions: Collection[TopicPartition]) -> None:
    """No test here loses a partition."""


def take(source: Source, expected: int) -> list[Record]:
    """Take until `expected` records have come."""
    taken: list[Record] = []
    deadline = time.monotonic() + 20
    while len(taken) < expected and time.monotonic() < deadline:
        taken += source.take(expected - len(taken), 0.2)
    return taken


def positions(records: Collection[Record]) -> dict[TopicPartition, int]:
    return {TopicPartition(record.topic, record.partition): record.offset + 1 for record in records}


def test_records_come_whole_and_in_the_order_of_each_partition(edges: Edges) -> None:
    edges.put(0, b"a", b"b", b"c")
    edges.put(1, b"x", None)
    source, _ = edges.open()
    source.open(ignore)
    taken = take(source, 5)
    assert [r.value for r in taken if r.partition == 0] == [b"a", b"b", b"c"]
    assert [r.value for r in taken if r.partition == 1] == [b"x", None]
    assert all(r.topic == edges.topic and r.key == b"k" and r.timestamp_ms >= 0 for r in taken)
    assert sorted(r.offset for r in taken) == [0, 0, 1, 1, 2]


def test_no_more_than_the_limit_is_taken(edges: Edges) -> None:
    edges.put(0, *[b"v"] * 10)
    source, _ = edges.open()
    source.open(ignore)
    first = take(source, 1)
    assert len(first) == 1
    assert len(source.take(4, 1.0)) == 4


def test_rewinding_before_a_commit_brings_everything_again(edges: Edges) -> None:
    edges.put(0, b"a", b"b")
    source, _ = edges.open()
    source.open(ignore)
    first = take(source, 2)
    source.rewind()
    assert take(source, 2) == first


def test_rewinding_after_a_commit_brings_only_the_rest(edges: Edges) -> None:
    edges.put(0, b"a", b"b", b"c")
    source, publisher = edges.open()
    source.open(ignore)
    first, second, third = take(source, 3)
    publisher.publish([OutRecord(edges.out, b"k", b"A")], positions([first]))
    source.rewind()
    assert take(source, 2) == [second, third]
    assert edges.published() == [b"A"]


def test_the_next_worker_begins_at_what_is_committed(edges: Edges) -> None:
    edges.put(0, b"a", b"b", b"c")
    edges.put(1, b"x")
    source, publisher = edges.open()
    source.open(ignore)
    taken = [record for record in take(source, 4) if record.value != b"c"]
    publisher.publish([OutRecord(edges.out, None, record.value) for record in taken], positions(taken))
    publisher.close()
    source.close()
    source, publisher = edges.open()
    source.open(ignore)
    assert [record.value for record in take(source, 1)] == [b"c"]
    assert sorted(value or b"" for value in edges.published()) == [b"a", b"b", b"x"]


def test_a_heartbeat_takes_nothing_away(edges: Edges) -> None:
    edges.put(0, b"a", b"b", b"c", b"d")
    source, _ = edges.open()
    source.open(ignore)
    first = take(source, 1)
    for _ in range(5):
        source.heartbeat()
        time.sleep(0.05)
    assert [record.value for record in first + take(source, 3)] == [b"a", b"b", b"c", b"d"]


def test_records_with_headers_and_tombstones_are_published(edges: Edges) -> None:
    edges.put(0, b"a")
    source, publisher = edges.open()
    source.open(ignore)
    taken = take(source, 1)
    out = [OutRecord(edges.out, b"k", None), OutRecord(edges.out, None, b"v", [("h", b"1")])]
    publisher.publish(out, positions(taken))
    assert edges.published() == [None, b"v"]
