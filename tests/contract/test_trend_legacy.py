"""A Redis in which the earlier layout was written: its counts are read, and its offsets taken over."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.labels import NOON, event
from tests.support.trend_stores import CLOCK, KEYS
from worker.local.redis import RealRedis
from worker.settings import RedisSettings
from worker.trends import legacy
from worker.trends.counting import aggregate
from worker.trends.rebuild import wipe
from worker.trends.redis_connection import connected
from worker.trends.redis_store import RedisTrendStore
from worker.trends.store import Filter, Position
from worker.trends.windows import Window

HOUR = Window(NOON, NOON + 3600, 60)
DAYS = Window(NOON // 86_400 * 86_400, NOON // 86_400 * 86_400 + 86_400, 86_400)


@pytest.fixture
def client(redis_server: RealRedis) -> Iterator[Redis]:
    with connected(RedisSettings(url=redis_server.url, timeout_s=2)) as client:
        for partition, generation in ((0, "4f1c"), (1, "5a2d")):
            tag = f"{{test:emotion-labels:{partition}}}"
            client.sadd("test:emotion-labels:partitions", partition)
            client.set(f"{tag}:offset", f"{generation}:100")
            client.sadd(f"{tag}:{generation}:sources", "web", "a|b")
            client.hset(f"{tag}:{generation}:h:{NOON // 3600}", mapping={"0|joy|web": 5, "0|fear|a|b": 2})
            client.hset(f"{tag}:{generation}:d:{NOON // 86_400}", mapping={"12|joy|web": 5, "12|fear|a|b": 2})
            client.hset(f"{tag}:0ld0:h:{NOON // 3600}", mapping={"0|joy|web": 99})
        yield client


@pytest.fixture
def store(client: Redis) -> RedisTrendStore:
    return RedisTrendStore(client, KEYS, clock=CLOCK)


def test_counting_goes_on_from_the_old_offsets(store: RedisTrendStore) -> None:
    places = store.open([0, 1, 2])
    position = places[0]
    assert position is not None
    assert places == {0: position, 1: position, 2: None}
    assert position.offset == 100
    store.apply(aggregate(0, 100, 103, [event(n, source="web") for n in (100, 101)]), position)
    store.apply(aggregate(2, 0, 1, [event(0, source="ios")]), None)
    for window in (HOUR, Window(NOON, NOON + 3600, 3600), DAYS):
        assert store.read(window).totals["joy"] == 10 + 3
        assert store.read(window, Filter(source="web")).totals["joy"] == 10 + 2
        assert store.read(window, Filter(source="a|b")).totals["fear"] == 4
        assert store.read(window, Filter(source="ios")).n == 1
        assert store.read(window, Filter(lang="en")).n == 0
    assert store.names("source") == ["a|b", "ios", "web"]
    assert store.open([0, 1, 2]) == {
        0: Position(position.generation, 103),
        1: position,
        2: Position(position.generation, 1),
    }


def test_a_program_of_the_earlier_layout_is_fenced(store: RedisTrendStore, client: Redis) -> None:
    """It compares its offset before it counts; that is gone. What it then counts anew is not looked at."""
    store.open([0, 1])
    assert client.get("{test:emotion-labels:0}:offset") is None
    client.set("{test:emotion-labels:0}:offset", "6b3e:7")
    client.hset(f"{{test:emotion-labels:0}}:6b3e:h:{NOON // 3600}", mapping={"0|joy|web": 50})
    assert store.read(HOUR).n == 14
    again = RedisTrendStore(client, KEYS, clock=CLOCK)
    assert [position and position.offset for position in again.open([0, 1]).values()] == [100, 100]
    assert again.read(HOUR).n == 14


def test_a_crash_while_taking_over_does_no_harm(store: RedisTrendStore, client: Redis) -> None:
    legacy.take_over(client, KEYS, [0])
    assert store.read(HOUR).n == 0
    store.open([0])
    assert store.read(HOUR).n == 7
    client.delete(KEYS.state)  # the same after noting it, before the state was written
    assert [position and position.offset for position in store.open([0, 1]).values()] == [100, 100]
    assert store.read(HOUR).n == 14


def test_a_rebuild_forgets_the_earlier_layout_too(store: RedisTrendStore, client: Redis) -> None:
    store.open([0, 1])
    wipe(client, KEYS)
    assert client.keys("{test:*") == []
    assert store.open([0, 1]) == {0: None, 1: None}
    assert store.read(HOUR).n == 0


def test_a_rebuild_before_anything_was_taken_over(store: RedisTrendStore, client: Redis) -> None:
    wipe(client, KEYS)
    assert store.open([0, 1]) == {0: None, 1: None}
