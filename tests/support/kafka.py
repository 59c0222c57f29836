"""Records in and out of a Kafka under test, through confluent-kafka."""

from __future__ import annotations

import logging
import time
import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from worker.settings import KafkaSettings
from worker.types import OutRecord

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class KafkaUnderTest:
    """A running Kafka, real unless the fixture says otherwise. Topics are each test's own."""

    bootstrap: str

    @property
    def settings(self) -> KafkaSettings:
        return KafkaSettings(bootstrap_servers=self.bootstrap)

    def topic(self, prefix: str = "test", *, partitions: int = 1, **config: str) -> str:
        """Create a topic with a name of its own; `config` in the broker's names."""
        name = unique(prefix)
        create_topic(self.bootstrap, name, partitions=partitions, **config)
        return name

    def produce(self, topic: str, values: Iterable[OutRecord | bytes | None]) -> None:
        """Write records: a value alone, or an `OutRecord` with key and headers (its topic is ignored)."""
        produce(self.bootstrap, topic, values)

    def read_all(self, topic: str, **config: Any) -> list[Message]:
        """Every committed record that is there now, in the order of each partition."""
        return read_all(self.bootstrap, topic, **config)

    def committed(self, group: str, topic: str) -> dict[int, int]:
        """The offset that a group has committed of each partition; below 0 where none.

        A transaction that somebody killed has left open says nothing yet, and is not waited for.
        """
        probe = Consumer(
            {
                "bootstrap.servers": self.bootstrap,
                "group.id": group,
                "isolation.level": "read_uncommitted",  # else the client asks for stable offsets alone
            }
        )
        try:
            numbers = high_watermarks(self.bootstrap, topic)
            found = probe.committed([TopicPartition(topic, number) for number in numbers], timeout=10)
            return {place.partition: place.offset for place in found}
        finally:
            probe.close()

    def all_committed(self, group: str, topic: str) -> bool:
        """Whether a group has committed all that is in a topic now."""
        ends, stand = high_watermarks(self.bootstrap, topic), self.committed(group, topic)
        return all(stand[number] >= end for number, end in ends.items() if end > 0)


def unique(prefix: str = "test") -> str:
    """A name for a topic or a group that no other test has."""
    return f"{prefix}-{uuid.uuid4().hex[:12]}"


def create_topic(bootstrap: str, name: str, *, partitions: int = 1, **config: str) -> None:
    """Create a topic and wait until every partition has a leader."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    topic = NewTopic(name, num_partitions=partitions, replication_factor=1, config=config)
    admin.create_topics([topic])[name].result(timeout=20)
    deadline = time.monotonic() + 20
    while True:
        found = admin.list_topics(name, timeout=10).topics[name].partitions
        if len(found) == partitions and all(partition.leader >= 0 for partition in found.values()):
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"{name}: not every partition has a leader after 20 s")
        time.sleep(0.02)


def produce(bootstrap: str, topic: str, values: Iterable[OutRecord | bytes | None]) -> None:
    """Write records and wait until the broker has them all."""
    refused: list[KafkaError] = []

    def delivered(error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            refused.append(error)

    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 5, "message.max.bytes": 8_000_000})
    for value in values:
        record = value if isinstance(value, OutRecord) else OutRecord(topic, None, value)
        while True:
            try:
                producer.produce(
                    topic,
                    key=record.key,
                    value=record.value,
                    headers=list(record.headers),
                    on_delivery=delivered,
                )
                break
            except BufferError:  # its queue is full: let it send
                producer.poll(0.1)
    left = producer.flush(30)
    assert left == 0, f"{left} records still unsent after 30 s"
    assert not refused, refused[0]


def read_all(bootstrap: str, topic: str, *, within_s: float = 30.0, **config: Any) -> list[Message]:
    """Every record up to the high watermark of now, read_committed, in the order of each partition.

    An open transaction holds the end back: it must end within `within_s`, or the test fails.
    """
    reader = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": unique("reader"),
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            **config,
        }
    )
    try:
        ends = _patiently(lambda: high_watermarks(bootstrap, topic))
        reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ends])
        return _read_until(reader, ends, within_s)
    finally:
        reader.close()


def _patiently(ask: Callable[[], dict[int, int]], within_s: float = 20.0) -> dict[int, int]:
    """Ask again while a partition that was just created has no leader yet."""
    deadline = time.monotonic() + within_s
    while True:
        try:
            return ask()
        except KafkaException as error:
            if error.args[0].code() != KafkaError.NOT_LEADER_FOR_PARTITION or time.monotonic() > deadline:
                raise
            time.sleep(0.1)


def high_watermarks(bootstrap: str, topic: str) -> dict[int, int]:
    """Where each partition ends, open transactions included."""
    probe = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": unique("probe"),
            "isolation.level": "read_uncommitted",
        }
    )
    try:
        partitions = probe.list_topics(topic, timeout=10).topics[topic].partitions
        assert partitions, f"no topic {topic}"
        return {
            number: probe.get_watermark_offsets(TopicPartition(topic, number), timeout=10)[1]
            for number in partitions
        }
    finally:
        probe.close()


def _read_until(reader: Consumer, ends: dict[int, int], within_s: float) -> list[Message]:
    records: list[Message] = []
    reached: dict[int, int] = {}
    again = 0
    behind = {number for number, end in ends.items() if end > 0}
    deadline = time.monotonic() + within_s
    while behind:
        if time.monotonic() > deadline:
            raise AssertionError(f"partitions {sorted(behind)} not read to {ends} after {within_s:g} s")
        for message in reader.consume(1000, timeout=0.2):
            number, offset = message.partition(), message.offset()
            assert number is not None
            assert offset is not None
            error = message.error()
            if error is None:
                if offset > reached.get(number, -1):  # the client brings some again: see worker.stream.rising
                    records.append(message)
                    reached[number] = offset
                else:
                    again += 1
                offset += 1
            elif error.code() != KafkaError._PARTITION_EOF:
                raise AssertionError(error)
            if offset >= ends[number]:
                behind.discard(number)
    if again:
        log.warning("the client brought %d records a second time", again)
    return records
