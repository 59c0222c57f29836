"""What can be asked of every store: each answer, and that Redis gives those of the yardstick in memory."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.labels import NOON
from tests.support.trend_stores import CLOCK, World, full_event
from worker.slices import SLICES
from worker.trends import redis_store, redis_terms
from worker.trends.counting import Batch, Deletion, Event, Outside, aggregate
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.queries import (
    FixedQueryError,
    MemoryQueryStore,
    Query,
    TooManyQueriesError,
    UnknownQueryError,
)
from worker.trends.sampling import rank_of
from worker.trends.store import ALL, Filter, Limits, TrendStore
from worker.trends.terms import PRIOR, TERM_KINDS, Term
from worker.trends.windows import Window
from worker.types import LABELS, LabelName

HOUR = Window(NOON, NOON + 3600, 60)
TWO_HOURS = Window(NOON, NOON + 7200, 60)
DAY = Window(NOON - 43_200, NOON + 43_200, 3600)


def _take(store: TrendStore, *events: Event, partition: int = 0) -> None:
    store.open([partition])
    store.apply(aggregate(partition, 0, 1000, events), None)


def test_scores_are_summed(world: World) -> None:
    store = world.store()
    _take(store, full_event(0, score=0.25), full_event(1, score=0.5), full_event(2, "fear", at=NOON + 60))
    trend = store.read(HOUR)
    assert trend.score_sums["joy"][:2] == [750_000, 0]
    assert trend.mean_scores["joy"] == 0.375
    assert trend.mean_scores["fear"] == 0.5
    assert trend.mean_scores["love"] is None
    assert store.read(DAY).score_sums["joy"][12] == 750_000


def test_one_source_language_or_query_at_a_time(world: World) -> None:
    queries = world.queries(10)
    sun, moon = queries.put(Query("sun", "sun")), queries.put(Query("moon", "moon"))
    store = world.store()
    _take(
        store,
        full_event(0, source="web", lang="en", queries=(sun.id,)),
        full_event(1, "fear", source="web", lang=None, queries=(sun.id, moon.id), score=1.0),
        full_event(2, source="ios", lang="de"),
    )
    found = {
        (name, value): store.read(HOUR, Filter(**{name: value})).totals
        for name, value in [
            ("source", "web"), ("lang", "en"), ("lang", "fr"), ("query", "sun"), ("query", "moon"),
        ]
    }  # fmt: skip
    some = {key: {emotion: n for emotion, n in totals.items() if n} for key, totals in found.items()}
    assert some == {
        ("source", "web"): {"joy": 1, "fear": 1},
        ("lang", "en"): {"joy": 1},
        ("lang", "fr"): {},
        ("query", "sun"): {"joy": 1, "fear": 1},
        ("query", "moon"): {"fear": 1},
    }
    assert store.read(DAY, Filter(query="moon")).mean_scores["fear"] == 1
    with pytest.raises(UnknownQueryError):
        store.read(HOUR, Filter(query="stars"))
    with pytest.raises(ValueError, match="source and query"):
        Filter(source="web", query="sun")


def test_the_voice_of_every_query_at_once(world: World) -> None:
    queries = world.queries(10)
    sun, moon = queries.put(Query("sun", "sun")), queries.put(Query("moon", "moon"))
    queries.put(Query("stars", "stars"))
    store = world.store()
    assert store.voice(HOUR) == {"sun": 0, "moon": 0, "stars": 0}
    _take(
        store,
        full_event(0, queries=(sun.id,)),
        full_event(1, "fear", queries=(sun.id, moon.id)),
        full_event(2, at=NOON - 86_400, queries=(moon.id,)),
    )
    assert store.voice(HOUR) == {"sun": 2, "moon": 1, "stars": 0}
    assert store.voice(Window(NOON, NOON + 60, 60))["sun"] == store.read(HOUR, Filter(query="sun")).n
    first = NOON // 86_400 * 86_400
    assert store.voice(Window(first - 86_400, first + 86_400, 86_400))["moon"] == 2


def test_a_query_set_anew_is_counted_anew(world: World) -> None:
    queries = world.queries(10)
    old = queries.put(Query("sun", "sun"))
    store = world.store()
    _take(store, full_event(0, queries=(old.id,)))
    assert store.read(HOUR, Filter(query="sun")).n == 1
    queries.put(Query("sun", "sun OR moon"))
    assert store.read(HOUR, Filter(query="sun")).n == 0


def test_days_are_counted_too(world: World) -> None:
    store = world.store()
    _take(store, *(full_event(number, at=NOON + 86_400 * number) for number in range(40)))
    first = NOON // 86_400 * 86_400
    trend = store.read(Window(first, first + 40 * 86_400, 86_400))
    assert trend.counts["joy"] == [1] * 40
    assert trend.score_sums["joy"] == [500_000] * 40


def test_languages_beyond_the_limit_count_as_other(world: World) -> None:
    store = world.store(Limits(max_langs=2))
    _take(store, *(full_event(n, lang=lang) for n, lang in enumerate(["a", "b", "c", "a", "d", "other"])))
    assert {lang: store.read(HOUR, Filter(lang=lang)).n for lang in ("a", "b", "c", "other")} == {
        "a": 2, "b": 1, "c": 0, "other": 3,
    }  # fmt: skip
    assert store.names("lang") == ["a", "b"]
    assert store.names("source") == ["tweets"]


def test_authors_are_counted_once(world: World) -> None:
    queries = world.queries(10)
    sun = queries.put(Query("sun", "sun"))
    store = world.store()
    assert store.authors(HOUR)["all"] == 0
    store.open([0, 1])
    authors = ["ann", "bob", "ann", None, "eve"]
    for partition in (0, 1):
        events = [
            full_event(n, "joy" if n < 3 else "fear", author=author, queries=(sun.id,) if n else ())
            for n, author in enumerate(authors)
        ]
        store.apply(aggregate(partition, 0, 10, events), None)
    for window in (HOUR, DAY, Window(NOON - 86_400, NOON + 30 * 86_400, 3600)):
        found = store.authors(window)
        assert (found["all"], found["joy"], found["fear"], found["love"]) == (3, 2, 1, 0)
        assert store.authors(window, Filter(source="tweets")) == {"all": 3}
        assert store.authors(window, Filter(lang="en")) == {"all": 3}
        assert store.authors(window, Filter(query="sun")) == {"all": 3}
    assert store.authors(Window(NOON + 3600, NOON + 7200, 60))["all"] == 0


def test_many_authors_of_a_day(world: World) -> None:
    store = world.store()
    _take(store, *(full_event(n, author=f"a{n}", at=NOON + n * 36) for n in range(900)))
    first = NOON // 86_400 * 86_400
    found = store.authors(Window(first, first + 3 * 86_400, 3600))["all"]
    assert abs(found - 900) <= 18


def test_what_stands_out(world: World) -> None:
    store = world.store()
    rain = [full_event(n, "sadness", terms=("rain", "day", "#wet", "😢")) for n in range(8)]
    sun = [full_event(8 + n, "joy", terms=("sun", "day")) for n in range(8)]
    store.open([0, 1])
    store.apply(aggregate(0, 0, 8, rain), None)
    store.apply(aggregate(1, 8, 20, [*sun, full_event(17), full_event(18, "joy", terms=("once",))]), None)
    lift = (8 + PRIOR) / (8 * 8 / 17 + PRIOR)
    assert store.terms(HOUR, "sadness", "term") == [
        Term("rain", 8, lift),
        Term("day", 8, 13 / (8 * 16 / 17 + 5)),
    ]
    assert store.terms(HOUR, "sadness", "term", 1) == [Term("rain", 8, lift)]
    assert store.terms(HOUR, "sadness", "hashtag") == [Term("#wet", 8, lift)]
    assert store.terms(DAY, "sadness", "emoji") == [Term("😢", 8, lift)]
    assert [term.term for term in store.terms(DAY, "joy", "term")] == ["sun"]
    assert store.terms(HOUR, "fear", "term") == []
    assert store.terms(Window(NOON + 3600, NOON + 7200, 60), "joy", "term") == []


def test_samples_are_few_and_of_the_window(world: World) -> None:
    queries = world.queries(10)
    sun = queries.put(Query("sun", "sun"))
    store = world.store(Limits(samples=4))
    events = [
        full_event(n, "joy" if n % 2 else "anger", at=NOON + n * 60, queries=(sun.id,) if n < 10 else ())
        for n in range(60)
    ]
    _take(store, *events)
    ranked = sorted(range(60), key=lambda n: rank_of(f"tweets/0/{n}"))
    odd = [n for n in ranked if n % 2][:4]
    assert {sample.id for sample in store.samples(HOUR, "joy")} == set(odd)
    assert len(store.samples(HOUR)) == 8
    assert [sample.id for sample in store.samples(HOUR, "joy", limit=2)] == sorted(odd)[:1:-1]
    assert [sample.id for sample in store.samples(HOUR, narrowed=Filter(query="sun"))] == [
        n for n in ranked if n < 10
    ][: Limits(samples=4).query_samples]
    assert store.samples(HOUR, narrowed=Filter(source="web")) == []
    assert len(store.samples(HOUR, narrowed=Filter(lang="en"))) == 8
    assert store.samples(Window(NOON, NOON + 60 * (min(odd)), 60), "joy") == []
    sample = store.samples(HOUR, "joy", limit=1)[0]
    assert sample.created_at == datetime.fromtimestamp(NOON + 60 * max(odd), UTC)
    assert (sample.input, sample.label_ref) == (f"tweets/0/{max(odd)}", f"emotion-labels/0/{max(odd)}")
    assert (sample.label, sample.score, sample.source, sample.lang) == ("joy", 0.5, "tweets", "en")
    assert sample.text is None


def test_text_is_kept_only_if_allowed(world: World) -> None:
    for allowed in (False, True):
        store = world.store(Limits(store_text=allowed))
        _take(store, full_event(0, text='<b>"ü"</b>\n', slices=("random",)))
        shown = ['<b>"ü"</b>\n' if allowed else None]
        assert [sample.text for sample in store.samples(HOUR)] == shown
        assert [sample.text for sample in store.review(HOUR, "random", 20)] == shown


def test_no_samples_are_kept_where_none_are_wanted(world: World) -> None:
    store = world.store(Limits(samples=0))
    _take(store, full_event(0, slices=SLICES))
    assert store.samples(HOUR) == store.review(HOUR, "random", 0) == []


def test_a_deletion_removes_samples_and_takes_no_count_back(world: World) -> None:
    queries = world.queries(10)
    sun = queries.put(Query("sun", "sun"))
    store = world.store(Limits(samples=2))
    ranked = sorted(range(4), key=lambda n: rank_of(f"tweets/0/{n}"))
    keys = {n: b"gone" if n == ranked[0] else b"stays" for n in range(4)}
    store.open([0])
    events = [full_event(n, key=keys[n], queries=(sun.id,)) for n in range(4)]
    position = store.apply(aggregate(0, 0, 4, events), None).position
    assert {sample.id for sample in store.samples(HOUR)} == set(ranked[:2])
    position = store.apply(aggregate(0, 4, 5, [], deletions=[Deletion(4, b"gone")]), position).position
    assert [sample.id for sample in store.samples(HOUR)] == [ranked[1]]  # and no other takes its place
    assert [sample.id for sample in store.samples(HOUR, narrowed=Filter(query="sun"))] == []
    assert store.read(HOUR).n == 4
    assert store.authors(HOUR)["all"] == 1
    later = full_event(5, key=b"gone", at=NOON + 3600)
    position = store.apply(aggregate(0, 5, 6, [later]), position).position
    assert [sample.id for sample in store.samples(Window(NOON, NOON + 7200, 60))] == [5, ranked[1]]
    store.apply(aggregate(0, 6, 8, [], deletions=[Deletion(6, b""), Deletion(7, b"gone")]), position)
    assert [sample.id for sample in store.samples(Window(NOON, NOON + 7200, 60))] == [ranked[1]]


def test_a_post_that_is_deleted_in_its_own_batch_is_never_shown(world: World) -> None:
    store = world.store(Limits(samples=1))
    ranked = sorted(range(3), key=lambda n: rank_of(f"tweets/0/{n}"))
    store.open([0])
    events = [full_event(n, key=str(n).encode()) for n in range(3)]
    deletions = [Deletion(5, str(ranked[0]).encode())]
    store.apply(aggregate(0, 0, 9, events, deletions=deletions), None)
    assert store.samples(HOUR) == []
    assert store.read(HOUR).n == 3


def test_a_post_that_is_written_anew_after_a_deletion_goes_with_the_next_one(world: World) -> None:
    store = world.store()
    store.open([0])
    position = store.apply(aggregate(0, 0, 1, [full_event(0, key=b"k")]), None).position
    again = aggregate(0, 1, 3, [full_event(2, key=b"k")], deletions=[Deletion(1, b"k")])
    position = store.apply(again, position).position
    assert [sample.id for sample in store.samples(HOUR)] == [2]
    store.apply(aggregate(0, 3, 4, [], deletions=[Deletion(3, b"k")]), position)
    assert store.samples(HOUR) == []


def test_deleted_posts_of_one_key_keep_a_place_each(world: World) -> None:
    store = world.store(Limits(samples=2))
    store.open([0])
    ranked = sorted(range(3), key=lambda n: rank_of(f"tweets/0/{n}"))
    posts = [full_event(n, key=b"other" if n == ranked[2] else b"k") for n in range(3)]
    first = [post for post in posts if post.key == b"k"]
    position = store.apply(aggregate(0, 0, 3, first), None).position
    position = store.apply(aggregate(0, 3, 4, [], deletions=[Deletion(3, b"k")]), position).position
    other = posts[ranked[2]]._replace(offset=4)
    store.apply(aggregate(0, 4, 5, [other]), position)
    assert store.samples(HOUR) == []


def test_late_and_early_labels_are_counted_apart(world: World) -> None:
    store = world.store()
    assert store.late() == {"late": 0, "early": 0}
    outside = [Outside(0, "late"), Outside(1, "early"), Outside(3, "late")]
    store.open([0])
    first = store.apply(aggregate(0, 0, 4, [full_event(2)], outside=outside), None).position
    believed = first._replace(offset=2)
    store.apply(aggregate(0, 2, 5, [full_event(2), full_event(4)], outside=outside[2:]), believed)
    assert store.late() == {"late": 2, "early": 1}
    assert store.read(HOUR).n == 2


def test_large_batches_are_counted_in_parts(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_store, "_MOST_COUNTED", 3)
    store = world.store()
    store.open([0])
    events = [full_event(n * 2, author=f"a{n}", key=b"k") for n in range(10)]
    first = store.apply(aggregate(0, 0, 9, events[:5]), None)
    assert first.batch is not None
    assert (len(first.batch.events), first.position.offset) == (5, 9)
    again = store.apply(
        aggregate(0, 4, 20, events[2:], deletions=[Deletion(19, b"k")]), first.position._replace(offset=4)
    )
    assert again.batch is not None
    assert [event.offset for event in again.batch.events] == [10, 12, 14, 16, 18]
    assert again.position.offset == 20
    assert store.read(HOUR).n == 10
    assert store.samples(HOUR) == []


def test_queries_are_kept(world: World) -> None:
    queries = world.queries(2)
    version = queries.version()
    sun = queries.put(Query("sun", "sun"))
    assert sun.since == datetime.fromtimestamp(CLOCK.time(), UTC)
    assert queries.put(Query("sun", "sun")) == sun
    assert queries.version() != version
    version = queries.version()
    queries.put(Query("a", '"ü" OR b', origin="file"))
    with pytest.raises(TooManyQueriesError):
        queries.put(Query("b", "b"))
    assert queries.put(Query("sun", "moon")).id != sun.id
    assert [(query.name, query.expression, query.origin) for query in queries.list()] == [
        ("a", '"ü" OR b', "file"),
        ("sun", "moon", "api"),
    ]
    assert queries.find("a").origin == "file"
    with pytest.raises(FixedQueryError):
        queries.remove("a")
    assert (queries.remove("a", "file"), queries.remove("a", "file")) == (True, False)
    assert queries.version() != version
    with pytest.raises(UnknownQueryError):
        queries.find("a")


_EVENTS = st.lists(
    st.builds(
        full_event,
        offset=st.just(0),
        emotion=st.sampled_from(LABELS[:3]),
        source=st.sampled_from(["a", "b", "c", "other"]),
        at=st.integers(NOON, NOON + 7_199) | st.integers(NOON - 90_000, NOON + 90_000),
        score=st.integers(0, 1000).map(lambda n: n / 1000),
        lang=st.sampled_from(["en", "de", "fr", None]),
        author=st.sampled_from(["ann", "bob", "eve", None]),
        queries=st.sampled_from([(), (0,), (0, 1)]),
        terms=st.lists(st.sampled_from(["x", "y", "z", "#x", "😀"]), unique=True).map(tuple),
        key=st.sampled_from([b"k1", b"k2", b"", None]),
        post=st.sampled_from([f"t/0/{n}" for n in range(30)]),
        slices=st.sampled_from([(), SLICES[:1], SLICES[1:], SLICES]),
    ),
    min_size=1,
    max_size=60,
)


_START = (NOON - 90_000) // 86_400 * 86_400
_WINDOWS = [
    Window(NOON - 7200, NOON + 7200, 300),
    Window(_START, _START + 345_600, 3600),
    Window(_START, _START + 345_600, 86_400),
]
_FILTERS = [
    ALL, Filter(source="a"), Filter(source="other"), Filter(lang="en"), Filter(query="one"),
]  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(
    events=_EVENTS,
    cuts=st.lists(st.integers(1, 20), min_size=1, max_size=8),
    deleted=st.dictionaries(st.integers(0, 80), st.sampled_from([b"k1", b"k2"]), max_size=4),
    late=st.sets(st.integers(0, 80), max_size=4),
    samples=st.integers(1, 4),
    window=st.sampled_from(_WINDOWS),
    emotion=st.integers(0, 2),
)
def test_any_labels_in_any_batches_give_the_yardsticks_answers(
    world: World,
    events: list[Event],
    cuts: list[int],
    deleted: dict[int, bytes],
    late: set[int],
    samples: int,
    window: Window,
    emotion: int,
) -> None:
    queries = world.queries(10)
    tracked = [queries.put(Query(name, name)) for name in ("one", "two")]
    same = MemoryQueryStore(CLOCK, queries=[Query(query.name, query.expression) for query in tracked])
    limits = Limits(max_sources=2, max_langs=2, samples=samples, store_text=True)
    store, yardstick = world.store(limits), MemoryTrendStore(CLOCK, limits, same)
    log = [
        event._replace(offset=n, queries=tuple(tracked[int(each)].id for each in event.queries))
        for n, event in enumerate(events)
        if n not in deleted  # a record is a label or a deletion
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(redis_store, "_MOST_COUNTED", 7)
        patch.setattr(redis_terms, "_PACK_FROM", 3)
        patch.setattr(redis_terms, "_LOOK_EVERY_S", 0.0)
        patch.setattr(redis_terms, "_IDLE_S", 0.0)
        _apply_in_batches(store, log, deleted, late, cuts)
    _apply_in_batches(yardstick, log, deleted, late, [1000])
    _same_answers(store, yardstick, window, LABELS[emotion])


def _apply_in_batches(
    store: TrendStore, log: list[Event], deleted: dict[int, bytes], late: set[int], cuts: list[int]
) -> None:
    position, start, end = store.open([0])[0], 0, 100
    for number in range(1000):
        stop = min(end, start + cuts[number % len(cuts)])
        batch = _between(log, deleted, late, start, stop)
        position = store.apply(batch, position).position
        start = stop
        if start == end:
            return


def _between(log: list[Event], deleted: dict[int, bytes], late: set[int], start: int, stop: int) -> Batch:
    return aggregate(
        0,
        start,
        stop,
        [event for event in log if start <= event.offset < stop],
        deletions=[Deletion(at, key) for at, key in sorted(deleted.items()) if start <= at < stop],
        outside=[Outside(at, "late") for at in sorted(late) if start <= at < stop],
    )


def _same_answers(store: TrendStore, yardstick: TrendStore, window: Window, emotion: LabelName) -> None:
    for each in _FILTERS:
        assert store.read(window, each) == yardstick.read(window, each)
        assert store.authors(window, each) == yardstick.authors(window, each)
        assert store.samples(window, None, each) == yardstick.samples(window, None, each)
    assert store.samples(window, emotion, limit=3) == yardstick.samples(window, emotion, limit=3)
    for of in SLICES:
        for kept in (1, 2, 4):
            assert store.review(window, of, kept) == yardstick.review(window, of, kept)
    for kind in TERM_KINDS:
        assert store.terms(window, emotion, kind) == yardstick.terms(window, emotion, kind)
    assert store.voice(window) == yardstick.voice(window)
    assert store.late() == yardstick.late()
    assert store.names("source") == yardstick.names("source")
    assert store.names("lang") == yardstick.names("lang")
