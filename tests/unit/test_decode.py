from __future__ import annotations

import traceback
from contextlib import suppress
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRecordError
from worker.stream.decode import MAX_KEY, Deletion, decode, written_at
from worker.types import Post, Record

TAKEN_MS = 1_700_000_000_000


def record(value: bytes | None, key: bytes | None = b"key") -> Record:
    return Record("tweets", 3, 7, key, value, TAKEN_MS)


def post(value: bytes) -> Post:
    decoded = decode(record(value))
    assert isinstance(decoded, Post)
    return decoded


def test_a_post_keeps_its_fields_and_ignores_unknown_ones() -> None:
    value = b'{"id":7,"text":"hi","author_id":"a","lang":"en","source":"web","likes":[1,{"x":2}]}'
    assert post(value) == Post(id=7, text="hi", author_id="a", lang="en", source="web")


def test_a_null_value_is_a_deletion_of_its_key() -> None:
    assert decode(record(None)) == Deletion(b"key")


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (b'{"id":1,"text":"\xff"}', "invalid_utf8"),
        (b"\xff\xfe", "invalid_utf8"),
        (b"", "invalid_json"),
        (b"{", "invalid_json"),
        (b'{"id":1,"text":"\\ud800"}', "invalid_json"),
        (b'{"id":1,"text":"x","y":' + b"[" * 100_000, "invalid_json"),
        (b"null", "wrong_type"),
        (b"[]", "wrong_type"),
        (b'{"id":1,"text":5}', "wrong_type"),
        (b'{"id":true,"text":"x"}', "wrong_type"),
        (b'{"id":1.5,"text":"x"}', "wrong_type"),
        (b'{"id":' + b"1" * 5000 + b',"text":"x"}', "wrong_type"),
        (b'{"id":"' + b"x" * 1025 + b'","text":"x"}', "wrong_type"),
        (b'{"id":1,"text":"x","source":{}}', "wrong_type"),
        (b'{"text":"x"}', "missing_id"),
        (b'{"id":1}', "missing_text"),
        (b'{"id":1,"text":null}', "wrong_type"),
        (b'{"id":1,"text":""}', "empty_text"),
        (b'{"id":1,"text":" \\n\\t\xe2\x80\x83"}', "empty_text"),
        (b'{"id":1,"text":"x","created_at":"yesterday"}', "invalid_time"),
        (b'{"id":1,"text":"x","created_at":true}', "invalid_time"),
    ],
)
def test_each_fault_has_its_name(value: bytes, kind: str) -> None:
    with pytest.raises(BadRecordError) as caught:
        decode(record(value))
    assert caught.value.kind == kind


@pytest.mark.parametrize("value", [b'{"text":"hi"}', b'{"id":1}', b'{"id":1,"text":"a","created_at":[]}'])
def test_what_was_refused_before_is_not_kept(value: bytes) -> None:
    """A million bad records once took 3 GB: an error that is raised again keeps all earlier tracebacks."""
    lengths = set()
    for _ in range(3):
        with pytest.raises(BadRecordError) as refused:
            decode(record(value))
        lengths.add(len(list(traceback.walk_tb(refused.value.__traceback__))))
    assert len(lengths) == 1


@given(st.binary(max_size=200))
def test_no_bytes_escape_the_error_tree(value: bytes) -> None:
    with suppress(BadRecordError):
        assert isinstance(decode(record(value)), Post | Deletion)


@given(st.text(min_size=1), st.integers(-(2**63), 2**63 - 1) | st.text(max_size=50))
def test_every_text_with_something_in_it_is_a_post(text: str, id_: int | str) -> None:
    value = msgspec.json.encode({"id": id_, "text": text + "x"})
    assert post(value) == Post(id=id_, text=text + "x")


@given(st.text(min_size=4, alphabet=st.characters(categories=["L"])))
def test_the_reason_never_holds_the_text(text: str) -> None:
    with pytest.raises(BadRecordError) as caught:
        decode(record(msgspec.json.encode({"id": 1, "text": [text]})))
    assert text not in caught.value.reason.removeprefix("Expected `str`, got `array` - at `$.text`")


@pytest.mark.parametrize(
    ("created", "expected"),
    [
        (b'"2024-01-02T03:04:05Z"', datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (b'"2024-01-02T05:04:05+02:00"', datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (b'"2024-01-02T03:04:05"', datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (b"1704164645", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (b"1704164645.5", datetime(2024, 1, 2, 3, 4, 5, 500_000, tzinfo=UTC)),
        (b"1704164645000", datetime(2024, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (b"null", datetime.fromtimestamp(TAKEN_MS / 1000, UTC)),
    ],
)
def test_times_in_every_form_taken(created: bytes, expected: datetime) -> None:
    value = b'{"id":1,"text":"x","created_at":' + created + b"}"
    assert written_at(post(value), record(value)) == expected


@pytest.mark.parametrize("created", [b'"0001-01-01T00:00:00Z"', b"-5", b"1e300", b"9e17"])
def test_a_time_outside_the_calendar_is_refused(created: bytes) -> None:
    value = b'{"id":1,"text":"x","created_at":' + created + b"}"
    with pytest.raises(BadRecordError, match="invalid_time"):
        written_at(post(value), record(value))


def test_an_x_envelope_is_a_post() -> None:
    value = b'{"data":{"id":"9","text":"yo","author_id":"5","lang":"en"},"matching_rules":[{"id":"1"}]}'
    assert post(value) == Post(id="9", text="yo", author_id="5", lang="en", source="x")


BLUESKY = (
    b'{"did":"did:plc:x","time_us":1704164645000000,"kind":"commit","commit":{"rev":"r","operation":"%s",'
    b'"collection":"%s","rkey":"k","record":{"text":"hi","createdAt":"2024-01-02T03:04:05.000Z","langs":["en"]}}}'
)


def test_a_bluesky_event_is_a_post_or_a_deletion() -> None:
    created = post(BLUESKY % (b"create", b"app.bsky.feed.post"))
    assert (created.id, created.text, created.source, created.lang) == (
        "at://did:plc:x/app.bsky.feed.post/k",
        "hi",
        "bluesky",
        "en",
    )
    deleted = BLUESKY % (b"delete", b"app.bsky.feed.post")
    assert decode(record(deleted)) == Deletion(b"key")
    assert decode(record(deleted, key=None)) == Deletion(b"at://did:plc:x/app.bsky.feed.post/k")
    with pytest.raises(BadRecordError):
        decode(record(BLUESKY % (b"create", b"app.bsky.feed.like")))


@pytest.mark.parametrize("time_us", [b"1" * 400, b"-1" + b"0" * 400, b"1e300", b"1e999"])
def test_no_time_of_an_envelope_is_too_large_to_be_refused(time_us: bytes) -> None:
    event = BLUESKY % (b"create", b"app.bsky.feed.post")
    event = event.replace(b'"createdAt":"2024-01-02T03:04:05.000Z",', b"")
    event = event.replace(b"1704164645000000", time_us)
    with pytest.raises(BadRecordError):
        written_at(post(event), record(event))


@pytest.mark.parametrize(
    "value",
    [
        b'{"data":{"id":"%s","text":"yo"}}',
        b'{"data":{"id":"9","text":"yo","lang":"%s"}}',
        BLUESKY.replace(b"did:plc:x", b"%s") % (b"%s", b"create", b"app.bsky.feed.post"),
        b'{"id":"9","content":"yo","account":{"id":"%s"}}',
    ],
)
def test_no_name_in_an_envelope_grows_past_what_labels_take(value: bytes) -> None:
    assert isinstance(decode(record(value % (b"x" * 1024))), Post)
    with pytest.raises(BadRecordError):
        decode(record(value % (b"x" * 1_000_000)))


@pytest.mark.parametrize("value", [b'{"id":1,"text":"x"}', None])
def test_a_key_that_labels_cannot_take_is_refused(value: bytes | None) -> None:
    decode(record(value, key=b"k" * MAX_KEY))
    with pytest.raises(BadRecordError, match="key_too_large"):
        decode(record(value, key=b"k" * (MAX_KEY + 1)))


def test_a_mastodon_status_loses_its_html() -> None:
    value = (
        b'{"id":"9","content":"<p>a &amp; b<br/>c</p><p><a href=\\"https://x.example\\">d</a></p>",'
        b'"account":{"id":"5"},"created_at":"2024-01-02T03:04:05.000Z","language":"en"}'
    )
    assert post(value).text == "a & b\nc\nd"
    assert post(value).source == "mastodon"


def test_a_character_with_thousands_of_digits_is_none() -> None:
    value = b'{"id":"9","content":"sad &#%s;","account":{"id":"5"}}' % (b"1" * 5000)
    assert post(value).text == "sad \ufffd"
