"""The Redis of the trends role."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from redis import Redis

from worker.clock import Clock
from worker.doctor.findings import Finding
from worker.settings import Settings
from worker.trends.keys import Keys
from worker.trends.redis_connection import connected, reaching
from worker.trends.redis_store import position_of
from worker.trends.store import StoreRefusedError, StoreUnavailableError

OLDEST = (6, 2)
_NOTED_S, _WRONG_S = 2.0, 60.0
"""Seconds by which our clock may differ; from the latter on, posts of now fall into other buckets."""
_NEARLY_FULL = 0.9


def look(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """Everything about Redis; ends early where it does not take us."""
    where = settings.redis.url
    try:
        with connected(settings.redis) as client:
            with reaching():
                client.ping()
            yield Finding("redis.login", "ok", f"{where} answers, and takes us")
            yield from _server(client, clock)
            yield _place(client, settings)
    except StoreRefusedError as error:
        yield Finding("redis.login", "fault", f"{where}: {error.reason}", away=True)
    except StoreUnavailableError as error:
        yield Finding(
            "redis.login",
            "fault",
            f"{where}: {error.reason}",
            "start Redis, or set redis.url (MOODSTREAM_REDIS__URL); rediss:// where it wants TLS",
            away=True,
        )


def _clock(ahead_s: float) -> Finding:
    """`ahead_s`: of Redis before us."""
    off = abs(ahead_s)
    if off < _NOTED_S:
        return Finding("clock", "ok", f"this machine and Redis agree to {off:.1f} s")
    which = "behind" if ahead_s > 0 else "ahead of"
    return Finding(
        "clock",
        "fault" if off >= _WRONG_S else "note",
        f"this machine's clock is {off:,.0f} s {which} that of Redis",
        "set both by NTP (timedatectl, chronyc tracking): trends go by the time of day",
    )


def _server(client: Redis, clock: Clock) -> Iterator[Finding]:
    """What the server says about itself, where we may ask."""
    try:
        with reaching():
            before = clock.time()
            about: Mapping[str, Any] = client.info()
            after = clock.time()
    except StoreRefusedError:
        yield Finding("redis.server", "note", "we may not ask how it is set up (INFO): that was not checked")
        return
    name = "valkey" if "valkey_version" in about else "redis"
    version = str(about.get("valkey_version") or about.get("redis_version", "0"))
    if tuple(map(int, version.split(".")[:2])) < OLDEST:
        yield Finding(
            "redis.server", "fault", f"{name} {version} is too old", "use Redis 6.2 to 8, or Valkey"
        )
    else:
        yield Finding("redis.server", "ok", f"{name} {version}")
    if "server_time_usec" in about:
        yield _clock(about["server_time_usec"] / 1e6 - (before + after) / 2)
    if about.get("role") == "slave":
        yield Finding(
            "redis.role", "fault", "it is a replica and takes no writes", "set redis.url to its primary"
        )
    yield from _memory(about)
    if not about.get("aof_enabled"):
        yield Finding(
            "redis.durability",
            "note",
            "appendonly is no: after a restart all is counted again, from as far back as the topic reaches",
            "CONFIG SET appendonly yes",
        )


def _memory(about: Mapping[str, Any]) -> Iterator[Finding]:
    most, used = about.get("maxmemory", 0), about.get("used_memory", 0)
    policy = about.get("maxmemory_policy", "noeviction")
    if most and policy != "noeviction":
        yield Finding(
            "redis.memory",
            "fault",
            f"maxmemory-policy is {policy}: what Redis evicts is counted wrong, and nothing notices",
            "CONFIG SET maxmemory-policy noeviction",
        )
    if most and used > _NEARLY_FULL * most:
        yield Finding(
            "redis.memory",
            "note",
            f"{used / most:.0%} of maxmemory is in use; when it is full, counting waits",
            "CONFIG SET maxmemory to more, or keep less (trends.details_hours, trends.max_terms)",
        )


def _place(client: Redis, settings: Settings) -> Finding:
    """Whether we may write (a field that is not there is deleted), and whether what is stored is ours."""
    keys = Keys(settings.trends.namespace, settings.topics.labels)
    try:
        with reaching():
            client.hdel(keys.state, "doctor")
            stored = client.hgetall(keys.state)
    except StoreRefusedError as error:
        return Finding("redis.permissions", "fault", error.reason, away=True)
    except StoreUnavailableError as error:
        return Finding("redis.permissions", "fault", f"takes no writes: {error.reason}")
    counted = {name: value for name, value in stored.items() if name != b"generation"}
    try:
        positions = [position_of(value) for value in counted.values()]
    except StoreUnavailableError as error:
        return Finding(
            "redis.namespace", "fault", error.reason, "set trends.namespace to a name that nobody else uses"
        )
    said = (
        f"{len(positions)} partitions of {settings.topics.labels} are counted"
        if positions
        else "nothing counted yet"
    )
    return Finding("redis.namespace", "ok", f"{settings.trends.namespace}: {said}")
