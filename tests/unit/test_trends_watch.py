"""Which queries are tracked: of a file, set meanwhile, and while the store is away."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from worker import metrics as m
from worker.clock import ManualClock
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.settings import ReviewSettings, TrendsSettings
from worker.slices import Review
from worker.trends.counting import Reading, Said
from worker.trends.queries import FixedQueryError, MemoryQueryStore, Query
from worker.trends.store import StoreUnavailableError
from worker.trends.vocabulary import Vocabulary
from worker.trends.watch import QueryWatch, read_queries, reading_of


class Store(MemoryQueryStore):
    away = False

    def version(self) -> int:
        if self.away:
            raise StoreUnavailableError("redis", "away")
        return super().version()


CLOCK = ManualClock()


@pytest.fixture
def store() -> Store:
    return Store(CLOCK, 3)


def _watch(store: Store, *of_file: Query, metrics: Metrics | None = None) -> QueryWatch:
    return QueryWatch(store, Reading(), CLOCK, metrics or Metrics(), list(of_file))


def _matches(watch: QueryWatch, text: str) -> int:
    queries = watch.reading.queries
    return (
        0
        if queries is None
        else len(queries.match_scanned(Vocabulary().scan([text]), [Said(None, None, None)])[0])
    )


def test_a_query_that_is_set_is_matched_within_a_second(store: Store) -> None:
    metrics = Metrics()
    watch = _watch(store, metrics=metrics)
    watch.refresh()
    assert watch.reading.queries is None
    store.put(Query("sun", "sun OR moon"))
    watch.refresh()
    assert _matches(watch, "the sun") == 0
    CLOCK.sleep(1)
    watch.refresh()
    assert _matches(watch, "the sun and the moon") == 1
    assert metrics.registry.get_sample_value(f"{m.PREFIX}_{m.TRENDS_QUERIES.name}") == 1
    store.remove("sun")
    CLOCK.sleep(1)
    watch.refresh()
    assert _matches(watch, "the sun") == 0


def test_queries_of_the_file_are_put_and_those_it_lost_are_removed(store: Store) -> None:
    store.put(Query("old", "old", origin="file"))
    store.put(Query("api", "api"))
    watch = _watch(store, Query("sun", "sun", origin="file"))
    watch.refresh()
    assert [(query.name, query.origin) for query in store.list()] == [("api", "api"), ("sun", "file")]
    assert _matches(watch, "api sun old") == 2
    with pytest.raises(FixedQueryError):
        store.put(Query("sun", "moon"))
    with pytest.raises(FixedQueryError):
        store.remove("sun")


def test_the_last_queries_hold_while_the_store_is_away(store: Store) -> None:
    watch = _watch(store)
    store.put(Query("sun", "sun"))
    store.away = True
    with pytest.raises(StoreUnavailableError):
        watch.refresh()
    store.away = False
    watch.refresh()
    store.away = True
    CLOCK.sleep(1)
    with pytest.raises(StoreUnavailableError):
        watch.refresh()
    assert _matches(watch, "sun") == 1


def test_more_of_the_file_than_fit_are_told(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    for name in "abc":
        store.put(Query(name, name))
    _watch(store, Query("sun", "sun", origin="file")).refresh()
    assert "'sun' of the file is not tracked: 3 queries" in caplog.text


def test_a_query_of_a_later_release_is_left_out(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    store.put(Query("sun", "sun"))
    store._queries["new"] = Query("new", "mood:joy", id="1")
    watch = _watch(store)
    watch.refresh()
    assert _matches(watch, "sun") == 1
    assert "'new' is not tracked" in caplog.text


def test_files(tmp_path: Path) -> None:
    toml, as_json = tmp_path / "q.toml", tmp_path / "q.json"
    toml.write_text('[queries]\nsun = \'sun OR "full moon"\'\n"my brand" = "#brand"\n')
    as_json.write_text(json.dumps({"queries": {"sun": "sun"}}))
    assert read_queries(toml, 5) == [
        Query("sun", 'sun OR "full moon"', origin="file"),
        Query("my brand", "#brand", origin="file"),
    ]
    assert read_queries(as_json, 5) == [Query("sun", "sun", origin="file")]


@pytest.mark.parametrize(
    ("name", "text", "problems"),
    [
        ("missing.toml", None, ["No such file"]),
        ("q.toml", "queries = [", ["Invalid value"]),
        ("q.json", "{", ["Expecting"]),
        ("q.toml", "a = 1", ["needs a table"]),
        ("q.json", "[]", ["needs a table"]),
        (
            "q.toml",
            "[queries]\na = 1\nb = '('\n' c' = 'c'\nd = 'd'",
            ["'a': its", "'b': at 1", "' c': a query"],
        ),
        ("q.toml", "[queries]\na = 'a'\nb = 'b'\nc = 'c'\nd = 'd'\ne = 'e'", ["allows 4"]),
        ("q.toml", b"\xff", ["utf-8"]),
    ],
)
def test_a_file_that_cannot_be_used_says_all_that_is_wrong(
    tmp_path: Path, name: str, text: str | bytes | None, problems: list[str]
) -> None:
    path = tmp_path / name
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(ConfigurationError) as error:
        read_queries(path, 4)
    assert len(error.value.problems) == len(problems)
    for found, expected in zip(error.value.problems, problems, strict=True):
        assert expected in found


def test_the_settings() -> None:
    review = ReviewSettings(random_share=0.5, low_margin=0.1)
    reading = reading_of(TrendsSettings(terms="off", late_hours=2, early_hours=1), review)
    assert (reading.terms, reading.late_s, reading.early_s) == (False, 7200, 3600)
    assert reading.review == Review(0.5, 0.1)
    assert reading_of(TrendsSettings(samples=0), review).review is None


def test_queries_of_the_file_come_back_after_the_store_was_wiped(store: Store) -> None:
    watch = _watch(store, Query("sun", "sun", origin="file"))
    store.put(Query("api", "api"))
    watch.refresh()
    assert _matches(watch, "api sun") == 2
    store._queries.clear()
    store._version = 0
    CLOCK.sleep(1)
    watch.refresh()
    assert [query.name for query in store.list()] == ["sun"]
    assert _matches(watch, "api sun") == 1
