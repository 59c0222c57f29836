"""What `POST /api/corrections` may rely on: in memory and on a real Kafka."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import pytest

from tests.support.api import MemoryCorrections
from tests.support.kafka import KafkaUnderTest
from worker.clock import SystemClock
from worker.errors import DependencyError
from worker.local.processes import HOST, free_port
from worker.settings import KafkaSettings
from worker.trends.corrections import Corrections, KafkaCorrections
from worker.types import Correction

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)


@dataclass
class World:
    corrections: Corrections
    topic: str
    written: Callable[[], list[Correction]]
    away: Callable[[], Corrections]


@pytest.fixture(params=["memory", "kafka"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    if request.param == "memory":
        memory = MemoryCorrections("corrections")
        yield World(memory, "corrections", lambda: list(memory.kept), _memory_away)
        return
    kafka: KafkaUnderTest = request.getfixturevalue("kafka")
    topic = kafka.topic("corrections", partitions=3)
    sender = KafkaCorrections(kafka.settings, topic, SystemClock())

    def written() -> list[Correction]:
        values = [message.value() or b"" for message in kafka.read_all(topic)]
        return [msgspec.json.decode(value, type=Correction) for value in values]

    yield World(sender, topic, written, lambda: _kafka_away(topic))
    sender.close()


def _memory_away() -> Corrections:
    made = MemoryCorrections()
    made.away = True
    return made


def _kafka_away(topic: str) -> Corrections:
    nowhere = KafkaSettings(bootstrap_servers=f"{HOST}:{free_port()}")
    return KafkaCorrections(nowhere, topic, SystemClock(), within_s=1)


def correction(number: int) -> Correction:
    return Correction(id=number, label="anger", label_ref=f"emotion-labels/0/{number}", by="ana", at=AT)


def test_it_is_there_when_send_returns(world: World) -> None:
    sent = world.corrections.send(correction(7))
    assert world.written() == [correction(7)]
    assert (sent.topic, sent.offset) == (world.topic, 0)
    assert str(sent) == f"{world.topic}/{sent.partition}/0"


def test_many_threads_send_and_each_has_its_own_answer(world: World) -> None:
    answers: dict[int, str] = {}

    def send(number: int) -> None:
        answers[number] = str(world.corrections.send(correction(number)))

    threads = [threading.Thread(target=send, args=(number,)) for number in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(set(answers.values())) == 20
    assert sorted(one.id for one in world.written()) == list(range(20))


def test_where_nobody_is_there_it_says_so(world: World) -> None:
    with pytest.raises(DependencyError, match="kafka"):
        world.away().send(correction(1))
    assert world.written() == []


def test_corrections_of_a_post_keep_their_order(world: World) -> None:
    for label in ("joy", "love", "anger", "fear"):
        world.corrections.send(msgspec.structs.replace(correction(7), label=label))
    assert [one.label for one in world.written()] == ["joy", "love", "anger", "fear"]
