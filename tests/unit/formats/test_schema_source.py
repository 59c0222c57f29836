"""Records that wait for a registry that is away."""

from __future__ import annotations

import json

import pytest

from tests.support.formats import record
from tests.support.registry import LocalRegistry
from tests.support.schema_world import SCHEMA, World, value
from worker.stream.memory import MemoryLog, MemorySource
from worker.stream.schema_source import SchemaSource
from worker.types import TopicPartition


class Around:
    """A source behind which schemas are looked at, over a log in memory."""

    def __init__(self, world: World) -> None:
        self.world, self.log = world, MemoryLog()
        self.revoked: list[TopicPartition] = []
        self.source = SchemaSource(MemorySource(self.log), {"tweets": world.read.resolve}, world.clock)
        self.source.open(self.revoked.extend)

    def put(self, *values: bytes | None, topic: str = "tweets", partition: int = 0) -> None:
        for one in values:
            self.log.append(topic, one, key=b"k", partition=partition)

    def take(self, limit: int = 100) -> list[tuple[str, int]]:
        return [(record.topic, record.offset) for record in self.source.take(limit, 0.2)]


@pytest.fixture
def around(world: World) -> Around:
    return Around(world)


def test_records_whose_schemas_are_known_come_in_their_order(around: Around, server: LocalRegistry) -> None:
    number = server.register("a-value", json.dumps(SCHEMA))
    around.put(value(number), b"{}", None, value(999))
    around.put(b'{"id":1,"text":"x"}', topic="feedback")
    assert around.take() == [("tweets", 0), ("tweets", 1), ("tweets", 2), ("tweets", 3), ("feedback", 0)]
    assert server.asked == [f"GET /schemas/ids/{number}", "GET /schemas/ids/999"]


def test_while_the_registry_is_away_records_wait_and_none_is_lost(
    around: Around, server: LocalRegistry
) -> None:
    known, new = (
        server.register(f"{name}-value", json.dumps(record(("id", "long"), (name, "string"))))
        for name in ("text", "say")
    )
    around.world.read.resolve(known)
    server.stop()
    around.put(value(known), value(new), value(known))
    assert around.take() == [("tweets", 0)]
    before = around.world.clock.time()
    assert around.take() == []
    assert around.world.clock.time() > before  # it does not spin
    server.start()
    around.world.clock.sleep(10)
    assert around.take(1) == [("tweets", 1)]
    assert around.take() == [("tweets", 2)]
    assert around.take() == []


def test_what_waits_is_dropped_when_another_worker_takes_over(around: Around, server: LocalRegistry) -> None:
    server.stop()
    around.put(value(1), partition=0)
    around.put(value(1), partition=1)
    assert around.take() == []
    around.source._revoked([TopicPartition("tweets", 0)])
    assert around.revoked == [TopicPartition("tweets", 0)]
    server.start()
    around.world.clock.sleep(10)
    assert [record.partition for record in around.source.take(10, 0.2)] == [1]


def test_what_waits_comes_again_from_what_is_committed(around: Around, server: LocalRegistry) -> None:
    server.stop()
    around.put(value(1), value(1))
    assert around.take() == []
    around.source.rewind()
    server.start()
    around.world.clock.sleep(10)
    assert around.take() == [("tweets", 0), ("tweets", 1)]
