"""Decoding, counting and laying out over time, against the slow and obvious way."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.labels import NOON, label
from worker.slices import Review, Slice
from worker.trends.counting import OTHER, Cell, Deletion, Event, Outside, Reading, aggregate, decode
from worker.trends.keys import Keys
from worker.trends.matcher import Matcher
from worker.trends.store import Position
from worker.trends.windows import DAYS, HOURS, MINUTES, Bucket, Window
from worker.types import EMOTIONS, LABELS, Label, Record

CELLS = st.builds(
    Cell,
    minute=st.integers(-100_000, 50_000_000),
    emotion=st.sampled_from(LABELS),
    source=st.sampled_from(["a", "b|c", ""]),
)


def _record(value: bytes | None, offset: int = 0) -> Record:
    return Record("emotion-labels", 0, offset, None, value, 0)


@pytest.mark.parametrize(
    ("written", "minute"),
    [
        ("2026-01-01T12:00:59.999999Z", NOON // 60),
        ("2026-01-01T14:00:00+02:00", NOON // 60),
        ("2026-01-01T11:59:59Z", NOON // 60 - 1),
        ("1969-12-31T23:59:59Z", -1),
        ("0001-01-01T00:00:00Z", -1_035_593_280),
        ("9999-12-31T23:59:59Z", 4_223_371_679),
    ],
)
def test_the_minute_is_of_the_event_and_in_utc(written: str, minute: int) -> None:
    (event,) = decode([_record(label(created_at=written))]).events
    assert event.cell.minute == minute


def test_every_label_is_counted_under_its_name() -> None:
    decoded = decode([_record(label(emotion), offset) for offset, emotion in enumerate(LABELS)])
    assert [event.cell.emotion for event in decoded.events] == list(LABELS)
    assert decoded.invalid == []


def test_long_names_of_sources_are_folded() -> None:
    (event,) = decode([_record(label(source="x" * 1000))]).events
    assert event.cell.source == OTHER


@given(st.binary(max_size=60))
def test_no_bytes_stop_the_decoder(value: bytes) -> None:
    decoded = decode([_record(value, 7), _record(None), _record(label())])
    assert (decoded.invalid, len(decoded.deletions), len(decoded.events)) == ([7], 1, 1)


@given(st.lists(CELLS, max_size=50), st.integers(0, 50))
def test_the_rest_of_a_batch_is_what_a_batch_of_the_rest_would_be(cells: list[Cell], cut: int) -> None:
    events = [Event(offset, cell) for offset, cell in enumerate(cells)]
    assert aggregate(0, 0, 99, events).after(cut) == aggregate(0, cut, 99, events[cut:])


@given(st.lists(CELLS, max_size=50), st.integers(1, 20), st.integers(0, 5))
def test_parts_make_up_the_batch(cells: list[Cell], most: int, gap: int) -> None:
    events = [Event(offset * (gap + 1), cell) for offset, cell in enumerate(cells)]
    batch = aggregate(0, 0, 999, events, deletions=(Deletion(7, b"k"),), outside=(Outside(8, "late"),))
    parts = list(batch.parts(most))
    assert [event for part in parts for event in part.events] == events
    assert [part.start for part in parts] == [0, *(part.end for part in parts[:-1])]
    assert parts[-1].end == 999
    assert all(len(part.events) <= most for part in parts)
    assert [len([d for part in parts for d in part.deletions]), sum(len(p.outside) for p in parts)] == [1, 1]


def test_parts_are_shorter_where_queries_match() -> None:
    cell = Cell(0, "joy", "web")
    events = [Event(number, cell, queries=("a", "b") if number % 2 else ()) for number in range(10)]
    parts = [len(part.events) for part in aggregate(0, 0, 10, events).parts(8)]
    assert parts == [4, 4, 2]


@pytest.mark.parametrize("bad", [(0, 60, 0), (0, 60, 90), (30, 90, 60), (60, 60, 60), (120, 60, 60)])
def test_a_window_is_whole_steps(bad: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="Window"):
        Window(*bad)


def test_steps_are_read_from_the_coarsest_hashes() -> None:
    assert Window(0, 7200, 3600).tier is HOURS
    assert Window(0, 5400, 5400).tier is MINUTES
    assert Window(0, 86_400, 86_400).tier is DAYS
    assert Window(0, 129_600, 43_200).tier is HOURS
    assert list(Window(0, 172_800, 3600).buckets()) == [Bucket("d", 0), Bucket("d", 1)]
    assert list(Window(0, 29 * 86_400, 86_400).buckets()) == [Bucket("m", 0), Bucket("m", 1)]


def test_details_are_read_by_the_hour_and_whole_days_and_long_windows_by_the_day() -> None:
    assert Window(60, 3660, 60).detail_buckets() == [Bucket("h", 0), Bucket("h", 1)]
    assert Window(0, 86_400, 3600).detail_buckets() == [Bucket("d", 0)]
    assert Window(0, 48 * 3600, 60).detail_buckets() == [Bucket("d", 0), Bucket("d", 1)]
    assert Window(22 * 3600, 49 * 3600, 3600).detail_buckets() == [
        *(Bucket("h", hour) for hour in (22, 23)), Bucket("d", 1), Bucket("h", 48),
    ]  # fmt: skip
    assert len(Window(3600, 47 * 3600, 60).detail_buckets()) == 46
    assert Window(0, 48 * 3600 + 60, 60).detail_buckets() == [Bucket("d", 0), Bucket("d", 1), Bucket("d", 2)]


def test_keys_are_read_back() -> None:
    keys = Keys("a.b-c", "emotion-labels")
    assert keys.generation_of(keys.prefix("4f1c09ab") + "h:-3:n:s:x:y") == "4f1c09ab"
    assert Position.parse(str(Position("4f1c", 2**62))) == Position("4f1c", 2**62)


def test_one_process_decodes_and_counts_far_more_than_a_hundred_thousand_labels_a_second() -> None:
    """`pytest -s` shows this machine's figure; of the process' own time, because others may be at work."""
    values = [label(LABELS[i % 7], f"source-{i % 3}", NOON + i / 10, id=i) for i in range(20_000)]
    records = [_record(value, offset) for offset, value in enumerate(values)]
    fastest = 1e9
    for _ in range(5):
        start = time.process_time()
        batch = aggregate(0, 0, len(records), decode(records).events)
        fastest = min(fastest, time.process_time() - start)
    assert len(batch.events) == len(records)
    print(f"\n{len(records) / fastest:,.0f} labels/s decoded and counted")  # noqa: T201
    assert len(records) / fastest > 100_000


def test_late_and_early_labels_are_told_by_the_label_alone() -> None:
    reading = Reading(late_s=3600, early_s=60)
    ages = {0: None, 3600: None, 3600.001: "late", -60: None, -60.001: "early", 1e9: "late"}
    for age, side in ages.items():
        decoded = decode([_record(_aged(age), 7)], reading)
        assert decoded.outside == ([] if side is None else [Outside(7, side)]), age  # type: ignore[arg-type]
        assert len(decoded.events) == (side is None)
    without = json.loads(label(at=0))
    del without["labelled_at"]
    assert len(decode([_record(json.dumps(without).encode())], reading).events) == 1


def _aged(seconds: float) -> bytes:
    return label(at=NOON, labelled_at=datetime.fromtimestamp(NOON + seconds, UTC).isoformat())


def test_what_a_label_holds_is_decoded() -> None:
    queries = Matcher({"id1": "sun", "id2": "lang:de", "id3": "author:42"})
    value = label(score=0.1234567, lang="de", author_id=42, text="The SUN #sun 😀", id=7)
    (event,) = decode([Record("emotion-labels", 0, 3, b"key", value, 0)], Reading(queries=queries)).events
    assert (event.offset, event.score, event.lang, event.author, event.key) == (3, 123457, "de", "42", b"key")
    assert event.terms == ("sun", "#sun", "😀")
    assert set(event.queries) == {"id1", "id2", "id3"}
    (bare,) = decode([_record(value)], Reading(terms=False)).events
    assert (bare.terms, bare.queries) == ((), ())
    (long,) = decode([_record(label(lang="x" * 17))]).events
    assert long.cell.source == "tweets"
    assert long.lang == OTHER


def test_a_label_is_offered_in_the_slices_that_the_quality_role_counts_it_in() -> None:
    review = Review(0.3, 0.2)
    found: list[Slice] = []
    for number in range(200):
        scores = dict(zip(EMOTIONS, (0.05 + number / 250, *(0.19 - number / 1250,) * 5), strict=True))
        value = label(input=f"tweets/0/{number}", scores=scores, neutral=0.05)
        (event,) = decode([_record(value)], Reading(review=review)).events
        assert list(event.slices) == list(review.slices(msgspec.json.decode(value, type=Label)))
        found += event.slices
        assert decode([_record(value)]).events[0].slices == ()
    assert 40 < found.count("random") < 80
    assert 20 < found.count("low_margin") < 180


def test_a_label_without_scores_counts_and_is_not_offered() -> None:
    without = json.loads(label())
    del without["scores"]
    (event,) = decode([_record(json.dumps(without).encode())], Reading(review=Review(1, 1))).events
    assert event.slices == ()


@pytest.mark.parametrize(
    ("given", "shown"), [(1, 1), ("1", "1"), (2**53 - 1, 2**53 - 1), (2**53 + 1, "9007199254740993")]
)
def test_an_id_that_a_browser_would_round_is_shown_as_text(given: str | int, shown: str | int) -> None:
    (event,) = decode([_record(label(id=given))]).events
    assert event.label is not None
    assert event.label.shown_id == shown


@pytest.mark.parametrize("score", [-0.1, 1.1, "high"])
def test_a_score_that_is_no_probability_makes_no_label(score: object) -> None:
    assert decode([_record(label(score=score), 5)]).invalid == [5]


@pytest.mark.parametrize("text", ['"\\ud800"', '"\\udc00x"', '"\\ud83d\\ude00"', '"a\\u0000b"'])
def test_surrogates_and_nulls_stop_nothing(text: str) -> None:
    value = label(text="TEXT").replace(b'"TEXT"', text.encode())
    decoded = decode([_record(value, 5)])
    assert len(decoded.events) + len(decoded.invalid) == 1


def test_broken_utf_8_makes_no_label() -> None:
    assert decode([_record(label(text="TEXT").replace(b"TEXT", b"\xed\xa0\x80"), 5)]).invalid == [5]
