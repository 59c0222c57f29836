"""Tracked queries in Redis: a hash, and a number that counts its changes."""

from __future__ import annotations

import builtins
import secrets

import msgspec
from redis import Redis

from worker.clock import Clock
from worker.trends.keys import Keys
from worker.trends.queries import (
    WIDEST,
    FixedQueryError,
    Origin,
    Query,
    TooManyQueriesError,
    UnknownQueryError,
    checked,
    kept,
)
from worker.trends.redis_connection import reaching, script
from worker.trends.store import StoreUnavailableError


class RedisQueryStore:
    """A `QueryStore` on Redis, shared by all instances."""

    def __init__(self, client: Redis, keys: Keys, clock: Clock, max_queries: int = 1000) -> None:
        self._client = client
        self._keys = keys
        self._clock = clock
        self._max_queries = max_queries
        self._put = script(client, "put_query")

    def version(self) -> int:
        with reaching():
            return int(self._client.get(self._keys.queries_version) or 0)

    def list(self) -> builtins.list[Query]:
        with reaching():
            found = self._client.hvals(self._keys.queries)
        return sorted(map(_read, found), key=lambda query: query.name)

    def put(self, query: Query) -> Query:
        new = checked(query, self._clock.time())
        while True:
            with reaching():
                old = self._client.hget(self._keys.queries, new.name)
            same = kept(None if old is None else _read(old), new)
            if same is not None:
                return same
            with reaching():
                done = self._put(
                    keys=[self._keys.queries, self._keys.queries_version],
                    args=[new.name, old or "", msgspec.json.encode(new), self._max_queries, _drawn()],
                )
            if done == 1:
                return new
            if done == -1:
                raise TooManyQueriesError(f"{self._max_queries} queries are tracked: remove one first")

    def remove(self, name: str, origin: Origin = "api") -> bool:
        with reaching():
            old = self._client.hget(self._keys.queries, name)
        if old is None:
            return False
        if (_read(old).origin, origin) == ("file", "api"):
            raise FixedQueryError(name)
        with reaching(), self._client.pipeline() as pipeline:
            pipeline.hdel(self._keys.queries, name)
            pipeline.set(self._keys.queries_version, _drawn(), nx=True)
            pipeline.incr(self._keys.queries_version)
            removed, *_ = pipeline.execute()
        return bool(removed)

    def find(self, name: str) -> Query:
        with reaching():
            found = self._client.hget(self._keys.queries, name)
        if found is None:
            raise UnknownQueryError(name)
        return _read(found)


def _drawn() -> int:
    """Where versions begin: far from where they began before Redis was wiped."""
    return WIDEST * (1 + secrets.randbelow(2**30))


def _read(stored: bytes | str) -> Query:
    try:
        return msgspec.json.decode(stored, type=Query)
    except msgspec.MsgspecError as error:
        raise StoreUnavailableError("redis", f"a query is not ours: {error}") from error
