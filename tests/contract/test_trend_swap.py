"""Trends in which a backfill answers for its days, held against a store in memory that counted just that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis import Redis

from tests.support.labels import NOON
from tests.support.trend_stores import CLOCK, KEYS, full_event
from worker.errors import ConfigurationError
from worker.local import redis as local_redis
from worker.settings import RedisSettings
from worker.trends.backfills import Backfill, Backfills
from worker.trends.counting import Deletion, Event, aggregate
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.queries import Query
from worker.trends.rebuild import wipe
from worker.trends.redis_connection import connected
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.redis_store import RedisTrendStore
from worker.trends.store import ALL, Filter, Limits, Sample, StoreUnavailableError, TrendReader
from worker.trends.swapped_reader import SwappedTrendReader
from worker.trends.windows import DAY, HOUR, Window
from worker.types import LABELS, LabelName

DAY_0 = NOON // DAY
FIRST, END = DAY_0 + 2, DAY_0 + 4
MAY = KEYS._replace(backfill="may")
LIMITS = Limits(samples=1000, shapes_s=0)
WHEN = datetime(2026, 5, 4, tzinfo=UTC)
AT_ONCE = Window(DAY_0 * DAY, (DAY_0 + 6) * DAY, HOUR)
WINDOWS = (
    AT_ONCE,
    Window(DAY_0 * DAY, (DAY_0 + 6) * DAY, DAY),  # of hashes of 28 days
    Window(FIRST * DAY - 6 * HOUR, FIRST * DAY + 6 * HOUR, 900),  # across where it begins
    Window(END * DAY - HOUR, END * DAY + HOUR, 60),
    Window(FIRST * DAY, END * DAY, DAY),
)


class Labelled(NamedTuple):
    """A post, and what two models say of it."""

    at: int
    live: LabelName
    new: LabelName
    source: str
    lang: str | None
    author: str
    queried: bool
    term: str


class Counted:
    """What is counted live in a Redis, and a backfill of two of its six days."""

    def __init__(self, client: Redis) -> None:
        client.flushall()
        self.client = client
        self.registry = Backfills(client, KEYS)
        self.queries = RedisQueryStore(client, KEYS, CLOCK)
        self.sun = self.queries.put(Query("sun", "sun")).id
        self.live = RedisTrendStore(client, KEYS, LIMITS, CLOCK)
        self.backfill = RedisTrendStore(client, MAY, LIMITS, CLOCK)
        self.begun = self.registry.begin(Backfill("may", FIRST, END, "new@1", WHEN))
        self.reader = SwappedTrendReader(client, KEYS, CLOCK)

    def count(self, posts: list[Labelled]) -> None:
        _take(self.live, [self._event(n, post, post.live) for n, post in enumerate(posts)])
        _take(
            self.backfill, [self._event(n, post, post.new) for n, post in enumerate(posts) if _within(post)]
        )

    def expected(self, posts: list[Labelled], *, swapped: bool) -> MemoryTrendStore:
        store = MemoryTrendStore(CLOCK, LIMITS, self.queries)
        _take(
            store,
            [
                self._event(n, post, post.new if swapped and _within(post) else post.live)
                for n, post in enumerate(posts)
            ],
        )
        return store

    def _event(self, number: int, post: Labelled, emotion: LabelName) -> Event:
        return full_event(
            number,
            emotion,
            at=post.at,
            source=post.source,
            lang=post.lang,
            author=post.author,
            terms=(post.term,),
            queries=(self.sun,) if post.queried else (),
            key=b"%d" % number,
        )


def _within(post: Labelled) -> bool:
    return FIRST * DAY <= post.at < END * DAY


def _take(store: RedisTrendStore | MemoryTrendStore, events: list[Event], *more: Deletion) -> None:
    position = store.open([0])[0]
    start = 0 if position is None else position.offset
    store.apply(aggregate(0, start, start + 1000, events, deletions=more), position)


def answers(reader: TrendReader) -> list[object]:
    """Everything that can be asked; samples without where their labels lie."""
    filters = (ALL, Filter(source="web"), Filter(lang="en"), Filter(query="sun"))
    found: list[object] = []
    for window in WINDOWS:
        for narrowed in filters:
            trend = reader.read(window, narrowed)
            found += [trend.counts, trend.score_sums, reader.authors(window, narrowed)]
            samples: list[Sample] = reader.samples(window, None, narrowed, 1000)
            found.append({(one.id, one.label, one.created_at) for one in samples})
        found.append(reader.voice(window))
        found += [reader.terms(window, "joy", "term"), reader.terms(window, "fear", "term")]
    return [*found, reader.names("source"), reader.names("lang")]


@pytest.fixture(scope="module")
def client() -> Iterator[Redis]:
    missing = local_redis.available()
    if missing is not None:
        pytest.skip(missing)
    with ExitStack() as closing:
        server = closing.enter_context(local_redis.RealRedis())
        yield closing.enter_context(connected(RedisSettings(url=server.url)))


posts = st.lists(
    st.builds(
        Labelled,
        st.integers(DAY_0 * DAY, (DAY_0 + 6) * DAY - 1)
        | st.sampled_from([FIRST * DAY - 1, FIRST * DAY, END * DAY - 1, END * DAY]),
        st.sampled_from(LABELS),
        st.sampled_from(LABELS),
        st.sampled_from(["web", "ios"]),
        st.sampled_from(["en", "de", None]),
        st.sampled_from(["ann", "bob", "cid"]),
        st.booleans(),
        st.sampled_from(["rain", "snow"]),
    ),
    max_size=25,
)


@settings(max_examples=10, deadline=None)
@given(posts)
def test_each_day_is_answered_by_whom_it_should_be(client: Redis, posts: list[Labelled]) -> None:
    counted = Counted(client)
    counted.count(posts)
    before, after = (answers(counted.expected(posts, swapped=swapped)) for swapped in (False, True))
    assert answers(counted.reader) == before
    counted.registry.swap(counted.begun)
    assert answers(counted.reader) == after
    assert answers(counted.live) == before, "what alerts look at"
    counted.registry.take_out("may")
    assert answers(counted.reader) == before


SOME = [
    Labelled(FIRST * DAY + hour * HOUR, "joy", "fear", "web", "en", "ann", queried=False, term="rain")
    for hour in range(-2, 3)
]


def test_a_steady_reader_sees_no_swap(client: Redis) -> None:
    counted = Counted(client)
    counted.count(SOME)
    steady = counted.reader.steady()
    before = answers(steady)
    counted.registry.swap(counted.begun)
    assert answers(steady) == before
    assert answers(counted.reader) != before
    assert counted.live.steady() is counted.live


def test_live_labels_are_offered_for_review(client: Redis) -> None:
    """Corrections are of these: the quality role knows no others."""
    counted = Counted(client)
    post = full_event(0, "joy", at=FIRST * DAY)._replace(slices=("random",))
    _take(counted.live, [post])
    _take(counted.backfill, [full_event(7, "fear", at=FIRST * DAY)])
    counted.registry.swap(counted.begun)
    assert [one.label for one in counted.reader.review(AT_ONCE, "random", 20)] == ["joy"]
    assert [one.label for one in counted.reader.samples(AT_ONCE)] == ["fear"]


def test_what_is_swapped_in_survives_a_rebuild(client: Redis) -> None:
    counted = Counted(client)
    counted.count(SOME)
    counted.registry.swap(counted.begun)
    wipe(client, KEYS)
    totals = counted.reader.read(AT_ONCE).totals
    assert (totals["fear"], totals["joy"]) == (3, 0), "live is to be counted again"
    _take(counted.live, [full_event(9, at=FIRST * DAY - 60)])
    totals = counted.reader.read(AT_ONCE).totals
    assert (totals["fear"], totals["joy"]) == (3, 1)


def test_the_last_one_covers_the_others(client: Redis) -> None:
    counted = Counted(client)
    counted.count(SOME)
    june = counted.registry.begin(Backfill("june", FIRST, FIRST + 1, "newer@1", WHEN))
    counted.registry.swap(counted.begun)
    counted.registry.swap(june)
    assert counted.registry.swapped() == ["may", "june"]
    assert counted.reader.read(AT_ONCE).totals["fear"] == 0, "june counts nothing"
    counted.registry.swap(counted.begun)
    assert counted.reader.read(AT_ONCE).totals["fear"] == 3
    counted.registry.take_out("may")
    counted.registry.take_out("june")
    assert counted.reader.read(AT_ONCE).totals["joy"] == 5


def test_what_is_deleted_live_is_deleted_in_every_backfill(client: Redis) -> None:
    """Also where it is not swapped in, and where the live samples have gone; counts stay."""
    counted = Counted(client)
    counted.count(SOME)
    counted.registry.swap(counted.begun)
    assert {one.id for one in counted.reader.samples(AT_ONCE)} == {0, 1, 2, 3, 4}
    _take(counted.live, [], Deletion(1005, b"3"))
    assert {one.id for one in counted.reader.samples(AT_ONCE)} == {0, 1, 2, 4}
    assert {one.id for one in counted.live.samples(AT_ONCE)} == {0, 1, 2, 4}
    assert counted.reader.read(AT_ONCE).n == 5
    counted.registry.take_out("may")
    _take(counted.live, [], Deletion(2005, b"4"))
    assert {one.id for one in counted.backfill.samples(AT_ONCE)} == {2}


def test_deletions_of_a_backfill_leave_what_is_live(client: Redis) -> None:
    counted = Counted(client)
    counted.count(SOME)
    _take(counted.backfill, [], Deletion(1005, b"3"))
    assert {one.id for one in counted.backfill.samples(AT_ONCE)} == {2, 4}
    assert {one.id for one in counted.live.samples(AT_ONCE)} == {0, 1, 2, 3, 4}


def test_one_that_goes_on_keeps_its_generation_and_one_that_is_forgotten_leaves_nothing(
    client: Redis,
) -> None:
    counted = Counted(client)
    counted.count(SOME)
    assert counted.registry.begin(counted.begun) == counted.begun
    counted.registry.completed("may", WHEN)
    assert counted.registry.find("may") == msgspec.structs.replace(counted.begun, complete_at=WHEN)
    counted.registry.swap(counted.begun)
    with pytest.raises(ConfigurationError, match="swap may --undo"):
        counted.registry.forget("may")
    counted.registry.take_out("may")
    before = answers(counted.live)
    assert counted.registry.forget("may") > 10
    assert counted.registry.list() == []
    assert not list(client.scan_iter(match="*:b:*"))
    assert answers(counted.live) == before


def test_what_is_not_ours_is_said(client: Redis) -> None:
    counted = Counted(client)
    client.set(KEYS.swaps, "what?")
    client.hset(KEYS.backfills, "x", "what?")
    with pytest.raises(StoreUnavailableError, match="a backfill is not ours"):
        counted.reader.read(AT_ONCE)
    with pytest.raises(StoreUnavailableError, match="a backfill is not ours"):
        counted.registry.list()
