"""Corrections as they come: what is taken, and what each wrong one is called."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.quality import LABELS_TOPIC, NOW, correction, record
from worker.errors import BadRecordError
from worker.quality.correction import LabelRef, check_time, decode, reference

GOOD: dict[str, Any] = {
    "id": 7,
    "label": "anger",
    "label_ref": "emotion-labels/3/1841",
    "by": "ann",
    "at": "2026-01-01T12:00:00Z",
}
MISSING = object()


def value(**changed: object) -> bytes:
    return json.dumps({k: v for k, v in (GOOD | changed).items() if v is not MISSING}).encode()


def kind(raw: bytes | None) -> str:
    with pytest.raises(BadRecordError) as refused:
        decode(record(raw))
    return refused.value.kind


def test_a_correction_is_taken() -> None:
    found = decode(record(value(note="unknown fields are ignored")))

    assert (found.id, found.label, found.by, found.at) == (7, "anger", "ann", NOW)
    assert reference(found, "emotion-labels") == LabelRef("emotion-labels", 3, 1841)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (None, "empty_value"),
        (b"", "invalid_json"),
        (b"\xff\xfe", "invalid_utf8"),
        (b"{", "invalid_json"),
        (b'{"note":' + b"[" * 100_000, "invalid_json"),
        (b"[]", "wrong_type"),
        (b"7", "wrong_type"),
        (value(id=MISSING), "invalid_id"),
        (value(id=1.5), "invalid_id"),
        (value(id="x" * 2000), "invalid_id"),
        (value(label=MISSING), "unknown_label_name"),
        (value(label="boredom"), "unknown_label_name"),
        (value(label="Joy"), "unknown_label_name"),
        (value(label=3), "unknown_label_name"),
        (value(label_ref=MISSING), "invalid_label_ref"),
        (value(label_ref="emotion-labels/3"), "invalid_label_ref"),
        (value(label_ref="emotion-labels/3/-1"), "invalid_label_ref"),
        (value(label_ref=" emotion-labels/3/1"), "invalid_label_ref"),
        (value(by=MISSING), "nobody"),
        (value(by=""), "nobody"),
        (value(by=" \t"), "nobody"),
        (value(by=None), "nobody"),
        (value(by="x" * 300), "nobody"),
        (value(at=MISSING), "invalid_time"),
        (value(at="yesterday"), "invalid_time"),
        (value(at="2026-01-01T12:00:00"), "invalid_time"),
        (value(at=1767268800), "invalid_time"),
        (value(at="0001-01-01T00:00:00Z"), "invalid_time"),
    ],
)
def test_each_wrong_one_has_a_name(raw: bytes | None, expected: str) -> None:
    assert kind(raw) == expected


def test_what_was_sent_stays_out_of_the_reason() -> None:
    """Reasons reach logs and headers."""
    with pytest.raises(BadRecordError) as refused:
        decode(record(value(label="a secret")))

    assert "secret" not in str(refused.value)


@given(st.binary(max_size=200) | st.recursive(st.none() | st.floats() | st.text(), st.lists).map(
    lambda built: json.dumps(built).encode()
))  # fmt: skip
def test_whatever_comes_it_is_a_correction_or_a_bad_record(raw: bytes) -> None:
    try:
        decode(record(raw))
    except BadRecordError:
        return


@pytest.mark.parametrize(
    ("ref", "expected"),
    [
        ("tweets/0/1", "foreign_topic"),
        ("emotion-labels/03/1", "invalid_label_ref"),
        ("emotion-labels/2147483648/1", "invalid_label_ref"),
        ("emotion-labels/0/9223372036854775808", "invalid_label_ref"),
    ],
)
def test_a_reference_must_be_one_of_the_labels_topic(ref: str, expected: str) -> None:
    with pytest.raises(BadRecordError) as refused:
        reference(correction(label_ref=ref), LABELS_TOPIC)

    assert refused.value.kind == expected


@pytest.mark.parametrize(
    ("ahead_s", "sent_s", "refused"),
    [
        (0, 0, False),
        (300, 0, False),
        (301, 0, True),
        (3600, 3600, True),  # the sender lies about both, but not about our clock
        (300, -3600, True),  # read an hour after it was sent: the answer of then
        (-86_400, 0, False),
    ],
)
def test_nothing_is_said_in_the_future(ahead_s: float, sent_s: float, *, refused: bool) -> None:
    said = correction(at=NOW + timedelta(seconds=ahead_s))
    came = record(b"", NOW + timedelta(seconds=sent_s))

    if refused:
        with pytest.raises(BadRecordError) as error:
            check_time(said, came, NOW.timestamp(), 300)
        assert error.value.kind == "future_time"
    else:
        check_time(said, came, NOW.timestamp(), 300)


def test_what_was_put_back_has_the_answer_of_when_it_first_came() -> None:
    first = NOW - timedelta(days=1)
    headers = [("moodstream.redriven.timestamp", b"%d" % (first.timestamp() * 1000))]
    back = msgspec.structs.replace(record(b"", NOW), headers=headers)
    check_time(correction(at=first), back, NOW.timestamp(), 300)
    with pytest.raises(BadRecordError):
        check_time(correction(at=NOW), back, NOW.timestamp(), 300)


def test_without_kafkas_timestamp_ours_counts() -> None:
    check_time(correction(at=NOW), record(b"", None), NOW.timestamp(), 0)
    late = correction(at=datetime(9999, 12, 31, tzinfo=UTC))
    with pytest.raises(BadRecordError):
        check_time(late, record(b"", None), NOW.timestamp(), 300)


def test_what_the_page_sends_is_what_is_decoded() -> None:
    sent = correction("fear", by="bob")

    assert decode(record(msgspec.json.encode(sent))) == sent
