"""What only a Redis can do: expire, forget its scripts, refuse, be away, and be wiped under a reader."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.labels import NOON, counted, event
from worker.local.redis import RealRedis
from worker.settings import RedisSettings, Settings, TopicSettings, TrendsSettings
from worker.trends.counting import aggregate
from worker.trends.keys import Keys
from worker.trends.rebuild import rebuild, wipe
from worker.trends.redis_store import RedisTrendStore, connected
from worker.trends.store import OffsetLostError, Position, StoreUnavailableError
from worker.trends.windows import Window

KEYS = Keys("test", "emotion-labels")
HOUR = Window(NOON, NOON + 3600, 60)


@pytest.fixture
def client(redis_server: RealRedis) -> Iterator[Redis]:
    with connected(RedisSettings(url=redis_server.url, timeout_s=2)) as client:
        yield client


@pytest.fixture
def store(client: Redis) -> RedisTrendStore:
    store = RedisTrendStore(client, KEYS, retention_s=3600, max_sources=8)
    store.open([0, 3])
    return store


def _names(client: Redis) -> set[str]:
    return {str(key, "utf-8") for key in client.keys("*") if isinstance(key, bytes)}


def test_keys_of_a_partition_share_a_hash_tag(store: RedisTrendStore, client: Redis) -> None:
    position = store.apply(aggregate(3, 0, 1, [event(0)]), None).position
    tag, generation = "{test:emotion-labels:3}", position.generation
    assert _names(client) == {
        "test:emotion-labels:partitions",
        f"{tag}:offset",
        f"{tag}:{generation}:sources",
        f"{tag}:{generation}:h:{NOON // 3600}",
        f"{tag}:{generation}:d:{NOON // 86_400}",
    }
    assert client.hgetall(f"{tag}:{generation}:h:{NOON // 3600}") == {b"0|joy|tweets": b"1"}
    assert client.hgetall(f"{tag}:{generation}:d:{NOON // 86_400}") == {b"12|joy|tweets": b"1"}


def test_counts_expire_after_their_last_change_and_offsets_never(
    store: RedisTrendStore, client: Redis
) -> None:
    position = store.apply(aggregate(0, 0, 1, [event(0)]), None).position
    for key in _names(client):
        left = client.ttl(key)
        assert left == (-1 if key.endswith((":offset", ":partitions")) else 3600), key
    (bucket,) = (key for key in _names(client) if ":h:" in key)
    client.expire(bucket, 10)
    store.apply(aggregate(0, 1, 2, [event(1)]), position)
    assert client.ttl(bucket) == 3600


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
    store = RedisTrendStore(client, KEYS, retention_s=3600, max_sources=8)
    with caplog.at_level(logging.WARNING):
        store.open([0])
        store.open([0])
    assert [record.message for record in caplog.records] == [
        "redis: maxmemory-policy is allkeys-lru, so counts may be evicted; set it to noeviction"
    ]


def test_a_key_that_is_not_ours_is_an_error_and_not_a_crash(store: RedisTrendStore, client: Redis) -> None:
    client.set(KEYS.offset(0), "a session of somebody's shop")
    with pytest.raises(StoreUnavailableError, match="namespace"):
        store.open([0])
    client.delete(KEYS.offset(0))
    client.lpush(KEYS.offset(0), "x")
    with pytest.raises(StoreUnavailableError, match="WRONGTYPE"):
        store.apply(aggregate(0, 0, 1, [event(0)]), None)


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
        assert RedisTrendStore(client, KEYS, retention_s=1, max_sources=1).open([0]) == {0: None}
    with connected(RedisSettings.model_validate({**settings, "password": "not-so-secret"})) as client:
        store = RedisTrendStore(client, KEYS, retention_s=1, max_sources=1)
        with pytest.raises(StoreUnavailableError) as refused:
            store.open([0])
    assert "secret" not in str(refused.value)


def test_a_user_who_may_not_ask_for_memory_still_counts(redis_server: RealRedis) -> None:
    with connected(RedisSettings(url=redis_server.url)) as admin:
        admin.acl_setuser(
            "narrow",
            enabled=True,
            passwords=["+pass"],
            keys=["test:*", "{test:*"],
            commands=["+@all", "-info", "-@admin"],
        )
    settings = {"url": redis_server.url, "username": "narrow", "password": "pass"}
    with connected(RedisSettings.model_validate(settings)) as client:
        store = RedisTrendStore(client, KEYS, retention_s=60, max_sources=1)
        store.open([0])
        store.apply(aggregate(0, 0, 1, [event(0)]), None)
        assert store.read(HOUR).n == 1


def test_a_rebuild_wipes_this_topic_in_this_namespace_only(client: Redis, redis_server: RealRedis) -> None:
    kept = RedisTrendStore(client, Keys("other", "emotion-labels"), retention_s=60, max_sources=8)
    wiped = RedisTrendStore(client, KEYS, retention_s=60, max_sources=8)
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
    assert rebuild(settings) == (2, 6)
    assert wiped.open([0, 1]) == {0: None, 1: None}
    assert (wiped.read(HOUR).n, kept.read(HOUR).n) == (0, 2)
    assert _names(client) >= {"moodstream-unrelated", "test:emotion-labels:partitions"}
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

    scan, scans = client.scan_iter, iter(range(9))

    def interrupted(*args: object, **kwargs: object) -> Iterator[bytes]:
        if next(scans) == 1:
            start_again()
        yield from scan(*args, **kwargs)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "scan_iter", interrupted)
    assert wipe(client, KEYS) == (1, 3)
    assert counted(store.read(HOUR)) == before


def test_what_is_left_of_an_old_generation_is_not_counted(store: RedisTrendStore, client: Redis) -> None:
    """An evicted or deleted offset: the counts are still there, and must not be added to."""
    store.apply(aggregate(0, 0, 1, [event(0)]), None)
    client.delete(KEYS.offset(0))
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
