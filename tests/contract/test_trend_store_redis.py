"""What only a Redis can do: expire, forget its scripts, refuse, be away, and be wiped under a reader."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from redis import Redis
from redis.client import Pipeline

from tests.support.labels import NOON, counted, event
from tests.support.trend_stores import CLOCK, KEYS, full_event
from worker.clock import ManualClock
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.settings import RedisSettings, Settings, TopicSettings, TrendsSettings
from worker.slices import SLICES
from worker.trends.backfills import Backfill, Backfills
from worker.trends.counting import Deletion, Outside, Reading, aggregate
from worker.trends.keys import Keys
from worker.trends.queries import Query
from worker.trends.rebuild import rebuild, wipe
from worker.trends.redis_connection import connected
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.redis_store import RedisTrendStore
from worker.trends.store import Applied, Limits, OffsetLostError, Position, StoreUnavailableError
from worker.trends.watch import QueryWatch
from worker.trends.windows import Window
from worker.types import LABELS, MAX_LABEL_TEXT

LIMITS = Limits(max_sources=8)
HOUR = Window(NOON, NOON + 3600, 60)


@pytest.fixture
def client(redis_server: RealRedis) -> Iterator[Redis]:
    with connected(RedisSettings(url=redis_server.url, timeout_s=2)) as client:
        yield client


@pytest.fixture
def store(client: Redis) -> RedisTrendStore:
    store = RedisTrendStore(client, KEYS, LIMITS, CLOCK)
    store.open([0, 3])
    return store


def _names(client: Redis) -> set[str]:
    return {str(key, "utf-8") for key in client.keys("*") if isinstance(key, bytes)}


def test_all_keys_share_a_hash_tag(store: RedisTrendStore, client: Redis) -> None:
    events = [full_event(0, terms=("sun",), key=b"k", queries=("1a2b",), slices=("random",))]
    position = store.apply(aggregate(3, 0, 1, events, outside=[Outside(0, "late")]), None).position
    own = f"{{test:emotion-labels}}:{position.generation}:"
    names = _names(client)
    assert {name for name in names if not name.startswith(own)} == {"{test:emotion-labels}:state"}
    hour, day = NOON // 3600, NOON // 86_400
    buckets = (f"h:{hour}", f"d:{day}", f"m:{day // 28}")
    curves = ("a", "s:tweets", "l:en", "q:1a2b")
    assert {name.removeprefix(own) for name in names if name.startswith(own)} == {
        "sources",
        "langs",
        "outside",
        "unpacked",
        *(f"{bucket}:{what}:{curve}" for bucket in buckets for what in "ns" for curve in curves),
        *(f"{bucket}:a:{curve}" for bucket in buckets[:2] for curve in ("e:joy", *curves[1:])),
        f"h:{hour}:t:new",
        f"h:{hour}:p:e:joy",
        f"h:{hour}:p:q:1a2b",
        f"h:{hour}:p:r:random",
        f"i:{int(CLOCK.time()) // 86_400}",
    }
    assert client.hgetall(f"{own}h:{hour}:n:a") == {b"0|joy": b"1"}
    assert client.hgetall(f"{own}d:{day}:s:l:en") == {b"12|joy": b"500000"}
    assert client.hget("{test:emotion-labels}:state", "3") == f"{position.generation}:1".encode()


def test_all_but_the_state_expires(store: RedisTrendStore, client: Redis) -> None:
    events = [full_event(0, terms=("sun",), key=b"k", queries=("1a2b",), slices=("random",))]
    store.apply(aggregate(0, 0, 1, events, outside=[Outside(0, "late")]), None)
    left = {name.split(":", 3)[-1]: client.ttl(name) for name in _names(client)}
    assert left.pop("state", -2) == -1
    hours, days, ages = LIMITS.retention_s + 3600, LIMITS.hourly_s + 86_400, LIMITS.daily_s + 28 * 86_400
    for name, seconds in left.items():
        expected = {"h": hours, "d": days}.get(name[0], ages)
        if ":a:" in name or ":p:" in name or ":t:new" in name or name == "unpacked":
            expected = LIMITS.details_s + 3600 if name[0] in "hu" else LIMITS.daily_details_s + 86_400
        if name.startswith("i:"):
            expected = LIMITS.details_s + 3600 + 2 * 86_400
        assert expected - 5 <= seconds <= expected, name


def test_a_bucket_that_is_added_to_is_kept_longer(store: RedisTrendStore, client: Redis) -> None:
    clock = ManualClock(NOON)
    store = RedisTrendStore(client, KEYS, LIMITS, clock)
    position = store.apply(aggregate(0, 0, 1, [event(0)]), None).position
    (bucket,) = (name for name in _names(client) if name.endswith(":n:a") and ":h:" in name)
    for passed, told in ((10, False), (LIMITS.retention_s / 10, True)):
        client.expire(bucket, 100)
        clock.sleep(passed)
        position = store.apply(
            aggregate(0, position.offset, position.offset + 1, [event(position.offset)]), position
        ).position
        assert (client.ttl(bucket) > 100) is told


def test_what_was_prepared_before_a_wipe_is_counted_whole_after_it(
    store: RedisTrendStore, client: Redis
) -> None:
    """In another generation: every key of it is told when to expire, though its like was told before."""
    batches = [aggregate(partition, 0, 3, [full_event(at) for at in range(3)]) for partition in (0, 1)]
    store.prepare(batches).apply([None, None])
    prepared = store.prepare(batches)
    client.flushdb()
    outcomes = prepared.apply([None, None])
    assert [one.position.offset for one in outcomes if isinstance(one, Applied)] == [3, 3]
    assert len({one.position.generation for one in outcomes if isinstance(one, Applied)}) == 1
    lasting = [key for key in client.scan_iter("*") if client.ttl(key) < 0]
    assert lasting == [KEYS.state.encode()]


def test_a_redis_that_forgot_its_scripts_gets_them_again(store: RedisTrendStore, client: Redis) -> None:
    position = store.apply(aggregate(0, 0, 1, [event(0)]), None).position
    client.script_flush()
    store.apply(aggregate(0, 1, 2, [event(1)]), position)
    assert store.read(HOUR).n == 2


def test_a_redis_that_takes_no_writes_counts_nothing(store: RedisTrendStore, client: Redis) -> None:
    position = store.apply(aggregate(0, 0, 1, [event(0)]), None).position
    client.config_set("maxmemory", 1)
    with pytest.raises(StoreUnavailableError, match="OutOfMemory"):
        store.apply(aggregate(0, 1, 2, [event(1)]), position)
    client.config_set("maxmemory", 0)
    assert store.open([0]) == {0: position}
    assert store.read(HOUR).n == 1
    store.apply(aggregate(0, 1, 2, [event(1)]), position)
    assert store.read(HOUR).n == 2


def test_a_redis_that_may_evict_counts_is_named(client: Redis, caplog: pytest.LogCaptureFixture) -> None:
    client.config_set("maxmemory", "100mb")
    client.config_set("maxmemory-policy", "allkeys-lru")
    store = RedisTrendStore(client, KEYS, LIMITS, CLOCK)
    with caplog.at_level(logging.WARNING):
        store.open([0])
        store.open([0])
    assert [record.message for record in caplog.records] == [
        "redis: maxmemory-policy is allkeys-lru, so counts may be evicted; set it to noeviction"
    ]


def test_a_key_that_is_not_ours_is_an_error_and_not_a_crash(store: RedisTrendStore, client: Redis) -> None:
    client.hset(KEYS.state, "0", "a session of somebody's shop")
    with pytest.raises(StoreUnavailableError, match="namespace"):
        store.open([0])
    client.delete(KEYS.state)
    client.lpush(KEYS.state, "x")
    with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
        store.apply(aggregate(0, 0, 1, [event(0)]), None)
    client.delete(KEYS.state)
    store.apply(aggregate(0, 0, 1, [event(0)]), None)
    (prefix,) = (name.removesuffix("sources") for name in _names(client) if name.endswith("sources"))
    hour = NOON // 3600
    client.rpush(f"{prefix}h:{hour}:t:new", b"x")
    client.zadd(f"{prefix}h:{hour}:p:e:joy", {"-" * 16 + "x": 1})
    with pytest.raises(StoreUnavailableError, match="no table of terms"):
        store.terms(HOUR, "joy", "term")
    with pytest.raises(StoreUnavailableError, match="sample"):
        store.samples(HOUR)


def test_a_redis_that_is_away_is_one_error(redis_server: RealRedis, store: RedisTrendStore) -> None:
    redis_server.kill()
    for ask in (
        lambda: store.open([0]),
        lambda: store.apply(aggregate(0, 0, 1, [event(0)]), None),
        lambda: store.read(HOUR),
    ):
        with pytest.raises(StoreUnavailableError) as away:
            ask()
        assert away.value.dependency == "redis"
    redis_server.start()
    store.apply(aggregate(0, 0, 1, [event(0)]), None)
    assert store.read(HOUR).n == 1


def test_passwords_are_used_and_never_shown(redis_server: RealRedis) -> None:
    settings = {"url": redis_server.url, "username": "trends", "timeout_s": 2}
    with connected(RedisSettings(url=redis_server.url)) as admin:
        admin.acl_setuser("trends", enabled=True, passwords=["+right"], keys=["*"], commands=["+@all"])
    with connected(RedisSettings.model_validate({**settings, "password": "right"})) as client:
        assert RedisTrendStore(client, KEYS, Limits(1, max_sources=1)).open([0]) == {0: None}
    with connected(RedisSettings.model_validate({**settings, "password": "not-so-secret"})) as client:
        store = RedisTrendStore(client, KEYS, Limits(1, max_sources=1))
        with pytest.raises(StoreUnavailableError) as refused:
            store.open([0])
    assert "secret" not in str(refused.value)


def test_a_user_who_may_not_ask_for_memory_still_counts(redis_server: RealRedis) -> None:
    with connected(RedisSettings(url=redis_server.url)) as admin:
        admin.acl_setuser(
            "narrow",
            enabled=True,
            passwords=["+pass"],
            keys=["{test:*"],
            commands=["+@all", "-info", "-@admin"],
        )
    settings = {"url": redis_server.url, "username": "narrow", "password": "pass"}
    with connected(RedisSettings.model_validate(settings)) as client:
        store = RedisTrendStore(client, KEYS, Limits(60, max_sources=1))
        store.open([0])
        store.apply(aggregate(0, 0, 1, [event(0)]), None)
        assert store.read(HOUR).n == 1


def test_a_rebuild_wipes_this_topic_in_this_namespace_only(client: Redis, redis_server: RealRedis) -> None:
    kept = RedisTrendStore(client, Keys("other", "emotion-labels"), Limits(60, max_sources=8))
    wiped = RedisTrendStore(client, KEYS, Limits(60, max_sources=8))
    for store in (kept, wiped):
        store.open([0, 1])
        store.apply(aggregate(0, 0, 1, [event(0)]), None)
        store.apply(aggregate(1, 0, 1, [event(0)]), None)
    client.set("moodstream-unrelated", "x")
    settings = Settings(
        redis=RedisSettings(url=redis_server.url),
        topics=TopicSettings(labels="emotion-labels"),
        trends=TrendsSettings(namespace="test"),
    )
    RedisQueryStore(client, KEYS, CLOCK).put(Query("sun", "sun"))
    counted = len([name for name in _names(client) if name.startswith("{test:emotion-labels}:")])
    assert rebuild(settings) == (2, counted - 3)  # but for the state, the queries and their version
    assert wiped.open([0, 1]) == {0: None, 1: None}
    assert (wiped.read(HOUR).n, kept.read(HOUR).n) == (0, 2)
    assert _names(client) >= {"moodstream-unrelated", KEYS.queries}
    assert [name for name in _names(client) if name.startswith("{test:") and "queries" not in name] == []
    assert rebuild(settings) == (0, 0)


def test_a_rebuild_under_a_reader_gives_the_same_numbers(
    store: RedisTrendStore, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader starts again while the old counts are still being swept up."""
    events = [event(i, at=NOON + i) for i in range(600)]
    old = store.apply(aggregate(0, 0, 600, events), None).position
    before = counted(store.read(HOUR))

    def start_again() -> None:
        with pytest.raises(OffsetLostError) as lost:
            store.apply(aggregate(0, 600, 601, []), old)
        assert lost.value.stored is None
        new = store.apply(aggregate(0, 0, 600, events), None).position
        assert new.generation != old.generation

    swept = len(_names(client)) - 1
    scan, scans = client.scan_iter, iter(range(9))

    def interrupted(*args: Any, **kwargs: Any) -> Iterator[bytes]:
        if next(scans) == 1:
            start_again()
        yield from scan(*args, **kwargs)

    monkeypatch.setattr(client, "scan_iter", interrupted)
    assert wipe(client, KEYS) == (1, swept)
    assert counted(store.read(HOUR)) == before


def test_what_is_left_of_an_old_generation_is_not_counted(store: RedisTrendStore, client: Redis) -> None:
    """An evicted or deleted state: the counts are still there, and must not be added to."""
    store.apply(aggregate(0, 0, 1, [event(0)]), None)
    client.delete(KEYS.state)
    assert store.read(HOUR).n == 0
    store.apply(aggregate(0, 0, 2, [event(0), event(1)]), None)
    assert store.read(HOUR).n == 2


def test_large_offsets_keep_every_digit(store: RedisTrendStore) -> None:
    """They travel through Lua, whose numbers hold 53 bits."""
    large = 2**63 - 10
    first = store.apply(aggregate(0, 0, large, []), None).position
    assert store.open([0]) == {0: Position(first.generation, large)}
    store.apply(aggregate(0, large, large + 1, [event(large)]), first)
    with pytest.raises(OffsetLostError):
        store.apply(aggregate(0, large + 2, large + 3, []), first)


def test_queries_after_a_wipe_are_not_taken_for_those_before(client: Redis) -> None:
    clock = ManualClock(NOON)
    queries = RedisQueryStore(client, KEYS, clock)
    client.unlink(KEYS.queries, KEYS.queries_version)
    watch = QueryWatch(queries, Reading(), clock, Metrics(), [Query("file", "of", origin="file")])
    queries.put(Query("old", "old"))
    watch.refresh()
    matcher = watch.reading.queries
    assert matcher is not None
    client.unlink(KEYS.queries, KEYS.queries_version)
    queries.put(Query("new", "new"))
    queries.put(Query("newer", "newer"))  # as many changes as before, counted from nothing
    clock.sleep(1)
    watch.refresh()
    assert {query.name for query in queries.list()} == {"file", "new", "newer"}
    assert watch.reading.queries is not matcher
    version = queries.version()
    queries.remove("newer")
    assert queries.version() == version + 1


def test_a_full_hour_takes_no_more_memory_than_is_said(store: RedisTrendStore, client: Redis) -> None:
    """The bounds of docs/trends.md; every minute and emotion of the hour is counted, every sketch full."""
    position = None
    for first in range(0, 42_000, 8400):
        events = [
            full_event(
                number,
                LABELS[number % 7],
                at=NOON + 60 * (number // 7 % 60),
                author=f"author {number}",
                terms=(f"term{number % 20_000}",),
                key=str(number).encode(),
                queries=("1a2b",),
                slices=SLICES,
            )
            for number in range(first, first + 8400)
        ]
        position = store.apply(aggregate(0, first, first + 8400, events), position).position
    hour = f":h:{NOON // 3600}:"
    sizes = {
        name.partition(hour)[2]: int(client.memory_usage(name, samples=0) or 0)
        for name in _names(client)
        if hour in name
    }
    kib = {
        kind: sum(size for name, size in sizes.items() if name.endswith(f":{kind}")) / 1024
        for kind in ("a", "s:tweets", "l:en", "q:1a2b")
    }
    assert 20 < kib["q:1a2b"] <= 40
    assert max(kib.values()) <= 40
    assert 8 < sum(size for name, size in sizes.items() if name.startswith("p:r:")) / 1024 <= 16
    assert sum(sizes.values()) / 1024 <= 480 + 3 * 40, sizes
    state = KEYS.state
    before = client.memory_usage(state, samples=0) or 0
    client.hset(state, mapping={str(number): str(position) for number in range(1000, 1100)})
    assert ((client.memory_usage(state, samples=0) or 0) - before) / 100 <= 150


def test_texts_take_no_more_memory_than_is_said(client: Redis) -> None:
    """The longest that a label may hold, of the characters that take most room in JSON."""
    store = RedisTrendStore(client, KEYS, Limits(store_text=True), CLOCK)
    store.open([0])
    text = "\x01" * MAX_LABEL_TEXT
    events = [full_event(number, text=text, key=b"%d" % number, slices=SLICES) for number in range(200)]
    store.apply(aggregate(0, 0, 200, events), None)
    for of in SLICES:
        (name,) = (name for name in _names(client) if name.endswith(f":p:r:{of}"))
        assert client.zcard(name) == Limits().samples
        assert 11 < (client.memory_usage(name, samples=0) or 0) / 1024 / Limits().samples <= 14


def test_a_batch_with_deletions_takes_two_round_trips(
    store: RedisTrendStore, client: Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Redis that is far away decides by their number whether trends keep up."""
    position = store.apply(aggregate(0, 0, 1, [full_event(0, key=b"k")]), None).position
    Backfills(client, KEYS).begin(Backfill("may", 20_574, 20_575, "m@1", datetime(2026, 5, 4, tzinfo=UTC)))
    position = store.apply(aggregate(0, 1, 2, [], deletions=[Deletion(1, b"k")]), position).position
    trips: list[str] = []

    def counting(name: str, kind: type[Any]) -> None:
        real = getattr(kind, name)

        def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
            trips.append(name)
            return real(self, *args, **kwargs)

        monkeypatch.setattr(kind, name, counted)

    counting("execute", Pipeline)
    counting("execute_command", Redis)
    store.apply(aggregate(0, 2, 3, [], deletions=[Deletion(2, b"k")]), position)
    assert trips == ["execute", "execute_command"]
