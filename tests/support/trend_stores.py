"""Trend stores to be tested alike, and labels that use all that they keep."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from redis import Redis

from tests.support.labels import NOON
from worker.clock import ManualClock
from worker.slices import Slice
from worker.trends.counting import Cell, CountedLabel, Event
from worker.trends.keys import Keys
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.queries import MemoryQueryStore, QueryStore
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.redis_store import RedisTrendStore
from worker.trends.store import Limits, TrendStore
from worker.types import LabelName

KEYS = Keys("test", "emotion-labels")
CLOCK = ManualClock(NOON + 3600.0)


@dataclass
class World:
    """One implementation: makes an empty store, as if it were new every time."""

    empty: Callable[[Limits], TrendStore]
    queries: Callable[[int], QueryStore]

    def store(self, limits: Limits | None = None, *, max_sources: int = 64) -> TrendStore:
        return self.empty(limits or Limits(max_sources=max_sources))


def in_memory() -> World:
    known: list[QueryStore] = [MemoryQueryStore(CLOCK)]

    def queries(most: int) -> QueryStore:
        known[0] = MemoryQueryStore(CLOCK, most)
        return known[0]

    return World(lambda limits: MemoryTrendStore(CLOCK, limits, known[0]), queries)


def on_redis(client: Redis) -> World:
    """All stores share one Redis: making a store or a store of queries empties it of the former."""

    def empty(limits: Limits) -> TrendStore:
        for key in client.scan_iter(match=f"{KEYS.tag}:*", count=1000):
            if not key.startswith(KEYS.queries.encode()):
                client.unlink(key)
        return RedisTrendStore(client, KEYS, limits, CLOCK)

    def queries(most: int) -> QueryStore:
        client.unlink(KEYS.queries, KEYS.queries_version)
        return RedisQueryStore(client, KEYS, CLOCK, most)

    return World(empty, queries)


def full_event(
    offset: int,
    emotion: LabelName = "joy",
    *,
    source: str = "tweets",
    at: float = NOON,
    score: float = 0.5,
    lang: str | None = "en",
    author: str | None = "ann",
    queries: tuple[str, ...] = (),
    terms: tuple[str, ...] = (),
    key: bytes | None = None,
    text: str = "a text",
    post: str | None = None,
    slices: tuple[Slice, ...] = (),
) -> Event:
    """A label with all that is counted, as decoding gives it; `post` is its place in the input topic."""
    label = CountedLabel(
        label=emotion,
        source=source,
        created_at=datetime.fromtimestamp(at, UTC),
        score=score,
        id=offset,
        input=post or f"tweets/0/{offset}",
        lang=lang,
        author_id=author,
        text=text,
    )
    cell = Cell(int(at // 60), emotion, source)
    return Event(offset, cell, round(score * 1e6), lang, author, queries, terms, label, key, slices)
