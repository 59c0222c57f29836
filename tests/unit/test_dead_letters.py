"""What a dead letter keeps of its record, and what it adds."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRecordError
from worker.stream.dead_letters import HEADER_ROOM, Finder, dead_letter, first_taken_ms
from worker.types import Headers, Record

NOW = datetime(2024, 1, 1, tzinfo=UTC)
MAX_BYTES = 100_000
FINDER = Finder("dead", "0.1.0", "default@1", MAX_BYTES)
ERROR = BadRecordError("invalid_json", "the value is not JSON")

HEADERS: st.SearchStrategy[Headers] = st.lists(
    st.tuples(st.text(max_size=20), st.none() | st.binary(max_size=30)), max_size=5
)


def record(key: bytes | None, value: bytes | None, headers: Headers) -> Record:
    return Record("tweets", 2, 7, key, value, 1_700_000_000_000, headers)


@given(st.none() | st.binary(), st.none() | st.binary(), HEADERS)
def test_key_value_and_headers_stay_and_what_is_known_is_added(
    key: bytes | None, value: bytes | None, headers: Headers
) -> None:
    letter = dead_letter(record(key, value, headers), ERROR, FINDER, NOW)
    assert (letter.topic, letter.key, letter.value) == ("dead", key, value)
    assert letter.headers[: len(headers)] == headers
    assert dict(letter.headers[len(headers) :]) == {
        "moodstream.topic": b"tweets",
        "moodstream.partition": b"2",
        "moodstream.offset": b"7",
        "moodstream.timestamp": b"1700000000000",
        "moodstream.error": b"invalid_json",
        "moodstream.message": b"the value is not JSON",
        "moodstream.worker": b"0.1.0",
        "moodstream.model": b"default@1",
        "moodstream.time": b"2024-01-01T00:00:00+00:00",
    }


def test_only_the_worker_says_what_is_wrong() -> None:
    """A producer cannot write these, nor where a record is put back to; that it was put back stays known."""
    claims: Headers = [("moodstream.topic", b"elsewhere"), ("moodstream.redriven.times", b"2"), ("a", b"b")]
    letter = dead_letter(record(b"k", b"v", claims), ERROR, FINDER, NOW)
    names = [name for name, _ in letter.headers]
    assert names.count("moodstream.topic") == 1
    assert dict(letter.headers)["moodstream.topic"] == b"tweets"
    assert dict(letter.headers)["moodstream.redriven.times"] == b"2"


@pytest.mark.parametrize(
    ("key", "value", "header", "cut"),
    [
        (1_000, MAX_BYTES, 0, None),
        (1_000, 10_000_000, 10, b"value"),
        (1_000, 10_000_000, 1_000_000, b"headers,value"),
        (10_000_000, 10_000_000, 10, b"key,headers,value"),
        (MAX_BYTES + HEADER_ROOM, 0, 0, b"key"),
    ],
)
def test_what_its_topic_does_not_take_is_cut(key: int, value: int, header: int, cut: bytes | None) -> None:
    """A producer that compresses may write what is many times the limit once it is unpacked."""
    headers: Headers = [("x", b"x" * header)] if header else []
    letter = dead_letter(record(b"k" * key, b"v" * value, headers), ERROR, FINDER, NOW)
    assert dict(letter.headers).get("moodstream.cut") == cut
    size = len(letter.key or b"") + len(letter.value or b"")
    size += sum(len(name) + len(fact or b"") for name, fact in letter.headers)
    assert size <= MAX_BYTES + HEADER_ROOM - 3_000
    assert cut is None or size > MAX_BYTES


@pytest.mark.parametrize(
    ("header", "expected"),
    [(b"1600000000000", 1_600_000_000_000), (b"soon", 1_700_000_000_000), (b"-1", 1_700_000_000_000)],
)
def test_a_record_put_back_is_as_old_as_when_it_first_came(header: bytes, expected: int) -> None:
    assert first_taken_ms(record(None, b"", [("moodstream.redriven.timestamp", header)])) == expected


def test_a_number_of_any_length_is_no_trouble() -> None:
    first_taken_ms(record(None, b"", [("moodstream.redriven.timestamp", b"9" * 100_000)]))
