"""Dead letters read back, chosen, marked and put back: the pure parts of `topics inspect` and `redrive`."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRecordError
from worker.stream.dead_letters import Finder, dead_letter
from worker.stream.decode import written_at
from worker.topics.letter_commands import printable
from worker.topics.letters import Letter, Rules, Wanted, letter_of, put_back, why_not
from worker.topics.marks import Marks, is_mark, mark, runs
from worker.types import ANY_PARTITION, Headers, OutRecord, Post, Record

NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)
LATER = datetime(2026, 5, 5, tzinfo=UTC)
FINDER = Finder("dead", "0.1.0", "default@1", 100_000)
RULES = Rules({"tweets": 12, "feedback": 4}, 100_000, 3)
CAME_MS = 1_700_000_000_000

NAMES = st.text(min_size=1, max_size=20).filter(lambda name: not name.startswith("moodstream."))
HEADERS: st.SearchStrategy[Headers] = st.lists(
    st.tuples(NAMES, st.none() | st.binary(max_size=30)), max_size=5
)
RECORDS = st.builds(
    Record,
    topic=st.sampled_from(["tweets", "feedback"]),
    partition=st.integers(0, 11),
    offset=st.integers(0, 10**12),
    key=st.none() | st.binary(max_size=50),
    value=st.none() | st.binary(max_size=500),
    timestamp_ms=st.integers(-1, 10**13),
    headers=HEADERS,
)
KINDS = st.sampled_from(["invalid_json", "model_error", "empty_text"])


def lying(letter: OutRecord, offset: int = 17, partition: int = 2, timestamp_ms: int = CAME_MS) -> Record:
    """An outgoing record as somebody reads it."""
    return Record(letter.topic, partition, offset, letter.key, letter.value, timestamp_ms, letter.headers)


def failing(record: Record, kind: str = "invalid_json", now: datetime = NOW, offset: int = 17) -> Letter:
    """The dead letter that a record becomes."""
    found = letter_of(lying(dead_letter(record, BadRecordError(kind, "why"), FINDER, now), offset))
    assert found is not None
    return found


def tweet(**changes: object) -> Record:
    record = Record("tweets", 3, 7, b"k", b"v", CAME_MS)
    return msgspec.structs.replace(record, **changes)


@given(RECORDS, KINDS)
def test_a_letter_says_where_it_comes_from_and_gives_the_record_back(record: Record, kind: str) -> None:
    letter = failing(record, kind)
    assert (letter.topic, letter.partition, letter.offset) == (record.topic, record.partition, record.offset)
    assert (letter.kind, letter.message, letter.redriven, letter.cut) == (kind, "why", 0, ())
    assert letter.found_at == NOW.timestamp()
    assert letter.timestamp_ms == record.timestamp_ms
    again = put_back(letter, RULES, LATER)
    assert (again.topic, again.key, again.value) == (record.topic, record.key, record.value)
    assert again.headers[: len(record.headers)] == record.headers
    there = record.partition < RULES.partitions[record.topic]
    assert again.partition == (record.partition if there else ANY_PARTITION)


@given(RECORDS, st.integers(1, 6))
def test_each_time_it_comes_back_is_counted_and_nothing_piles_up(record: Record, times: int) -> None:
    letter = failing(record)
    for n in range(times):
        assert letter.redriven == n
        assert why_not(letter, Wanted(), RULES) == ("too_often" if n >= RULES.max_redrives else None)
        again = put_back(letter, RULES, LATER)
        ours = dict(again.headers[len(record.headers) :])
        assert ours["moodstream.redriven.from"] == b"dead/2/%d" % (17 + n)
        assert ours["moodstream.redriven.times"] == b"%d" % (n + 1)
        assert ours["moodstream.redriven.at"] == LATER.isoformat().encode()
        assert len(again.headers) == len(record.headers) + len(ours)
        came = lying(again, offset=1000 + n, partition=3, timestamp_ms=CAME_MS + 999)
        letter = failing(came, offset=18 + n)
        assert letter.timestamp_ms == (record.timestamp_ms if record.timestamp_ms >= 0 else CAME_MS + 999)


def test_a_post_put_back_counts_for_the_minute_in_which_it_first_came() -> None:
    post = Post(id=1, text="x")
    again = lying(put_back(failing(tweet()), RULES, LATER), timestamp_ms=CAME_MS + 86_400_000)
    assert written_at(post, again) == datetime.fromtimestamp(CAME_MS / 1000, UTC)


@pytest.mark.parametrize(
    ("record", "why"),
    [
        (tweet(), None),
        (tweet(topic="elsewhere"), "elsewhere"),
        (tweet(topic="__consumer_offsets"), "elsewhere"),
        (tweet(value=b"v" * 1_000_000), "too_large"),
        (tweet(value=b"v" * 99_500), "too_large"),
    ],
)
def test_what_stays(record: Record, why: str | None) -> None:
    assert why_not(failing(record), Wanted(), RULES) == why


@pytest.mark.parametrize(
    ("wanted", "matches"),
    [
        (Wanted(), True),
        (Wanted(kinds=frozenset({"invalid_json", "empty_text"})), True),
        (Wanted(kinds=frozenset({"empty_text"})), False),
        (Wanted(topics=frozenset({"tweets"})), True),
        (Wanted(topics=frozenset({"feedback"})), False),
        (Wanted(since=NOW.timestamp()), True),
        (Wanted(since=NOW.timestamp() + 0.001), False),
        (Wanted(until=NOW.timestamp()), False),
        (Wanted(until=NOW.timestamp() + 0.001), True),
    ],
)
def test_filters(wanted: Wanted, matches: bool) -> None:
    letter = failing(tweet())
    assert wanted.matches(letter) is matches
    assert why_not(letter, wanted, RULES) == (None if matches else "other")


ODD = st.none() | st.binary(max_size=30) | st.sampled_from([b"-1", b"9" * 30, "٣".encode(), b"1e3", b""])


@given(
    st.lists(
        st.tuples(
            st.sampled_from(
                [
                    f"moodstream.{name}"
                    for name in ("topic", "partition", "offset", "error", "time", "timestamp")
                ]
                + ["moodstream.redriven.times", "moodstream.redriven.timestamp", "moodstream.cut", "x"]
            ),
            ODD,
        ),
        max_size=12,
    ),
    st.none() | st.binary(max_size=50),
)
def test_whatever_lies_there_is_a_letter_or_is_not(headers: Headers, value: bytes | None) -> None:
    """Anybody may write into the topic; nothing that they write stops who reads it."""
    record = Record("dead", 0, 0, None, value, CAME_MS, headers)
    letter = letter_of(record)
    if letter is not None:
        why_not(letter, Wanted(since=0.0), RULES)
    Marks().add(record)


@given(st.sets(st.integers(0, 300), min_size=1))
def test_runs_hold_just_these_offsets(offsets: set[int]) -> None:
    found = runs(offsets)
    assert [n for first, last in found for n in range(first, last + 1)] == sorted(offsets)
    assert all(before[1] + 1 < after[0] for before, after in pairwise(found))


@given(st.lists(st.tuples(st.integers(0, 2), st.sets(st.integers(0, 60), min_size=1)), max_size=12))
def test_marks_know_each_letter_that_was_put_back_and_no_other(done: list[tuple[int, set[int]]]) -> None:
    marks = Marks()
    for partition, offsets in done:
        one = mark("dead", partition, offsets)
        assert one.partition == partition
        assert is_mark(lying(one))
        marks.add(lying(one, partition=partition))
    for partition in range(4):
        expected = set().union(*(offsets for number, offsets in done if number == partition))
        assert {offset for offset in range(70) if marks.has(partition, offset)} == expected


def test_no_record_of_a_producer_becomes_a_mark() -> None:
    forged = mark("dead", 0, [1, 2, 3])
    letter = dead_letter(
        tweet(value=forged.value, headers=forged.headers), BadRecordError("wrong_type", "why"), FINDER, NOW
    )
    assert not is_mark(lying(letter))


@given(st.binary(max_size=300))
def test_what_is_shown_does_nothing_to_a_terminal(data: bytes) -> None:
    shown = printable(data, 100)
    assert shown.isprintable()
    assert len(shown) <= 103


def test_what_is_shown_keeps_its_script() -> None:
    assert printable("Grüße 文\x1b[31m\n".encode()) == "Grüße 文\\x1b[31m\\n"
