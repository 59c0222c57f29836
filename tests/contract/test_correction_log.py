"""What the quality role may rely on when it looks for what was passed over: in memory and on a real Kafka."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.kafka import KafkaUnderTest, unique
from tests.support.quality import MemoryCorrectionLog, record
from worker.clock import SystemClock
from worker.errors import UnansweredError
from worker.local.processes import HOST, free_port
from worker.quality.passed_over import CorrectionLog, Found, KafkaCorrectionLog
from worker.settings import KafkaSettings

COMMITTED = [0, 1, 2, 6, 7]
"""Offsets of what was committed; 4 and 5 were rolled back, 3 and 8 are the ends of transactions."""
END = 9


@dataclass
class World:
    log: CorrectionLog
    commit: Callable[[int], None]
    away: Callable[[], CorrectionLog]


@pytest.fixture(params=["memory", "kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        memory = MemoryCorrectionLog([record(b"%d" % offset, offset=offset) for offset in COMMITTED], end=END)
        yield World(memory, lambda offset: setattr(memory, "committed", offset), _memory_away)
        return
    kafka: KafkaUnderTest = request.getfixturevalue("kafka")
    topic, group = kafka.topic("corrections"), unique("quality")
    _written(kafka, topic)
    log = KafkaCorrectionLog(kafka.settings, group, topic, 0, SystemClock())
    yield World(log, lambda offset: _commit(kafka, group, topic, offset), lambda: _kafka_away(group, topic))
    log.close()


def _written(kafka: KafkaUnderTest, topic: str) -> None:
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique("writer")})
    producer.init_transactions(30)
    for offsets, kept in (((0, 1, 2), True), ((4,), False), ((6, 7), True)):
        producer.begin_transaction()
        for offset in offsets:
            producer.produce(topic, b"%d" % offset)
        producer.flush(30)
        (producer.commit_transaction if kept else producer.abort_transaction)(30)
    [*_, last] = kafka.read_all(topic)
    assert last.offset() == COMMITTED[-1]


def _commit(kafka: KafkaUnderTest, group: str, topic: str, offset: int) -> None:
    consumer = Consumer({"bootstrap.servers": kafka.bootstrap, "group.id": group})
    consumer.commit(offsets=[TopicPartition(topic, 0, offset)], asynchronous=False)
    consumer.close()


def _memory_away() -> CorrectionLog:
    made = MemoryCorrectionLog()
    made.unanswered = 1
    return made


def _kafka_away(group: str, topic: str) -> CorrectionLog:
    nowhere = KafkaSettings(bootstrap_servers=f"{HOST}:{free_port()}")
    return KafkaCorrectionLog(nowhere, group, topic, 0, SystemClock(), within_s=1)


def _offsets(found: Found) -> tuple[list[int], int]:
    for one in found.records:
        assert one.value == b"%d" % one.offset
    return [one.offset for one in found.records], found.reached


@pytest.mark.parametrize(
    ("done", "end", "expected"),
    [
        (0, END, (COMMITTED, END)),
        (1, 6, ([1, 2], 6)),
        (3, 6, ([], 6)),
        (2, 7, ([2, 6], 7)),
        (8, END, ([], END)),
        (END, END, ([], END)),
        (7, END + 5, ([7], END)),
    ],
)
def test_only_what_was_committed_between_two_offsets(
    world: World, done: int, end: int, expected: tuple[list[int], int]
) -> None:
    assert _offsets(world.log.between(done, end)) == expected


def test_what_the_group_has_committed_is_done(world: World) -> None:
    world.commit(2)
    assert _offsets(world.log.between(0, END)) == ([2, 6, 7], END)
    assert _offsets(world.log.between(6, END)) == ([6, 7], END)
    world.commit(END)
    assert _offsets(world.log.between(0, END)) == ([], END)


def test_kafka_away_is_said(world: World) -> None:
    with pytest.raises(UnansweredError):
        world.away().between(0, END)
