"""Bytes to corrections. Pure: a record in; a `Correction` out, or a `BadRecordError` that says why not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

import msgspec

from worker.errors import BadRecordError
from worker.stream.dead_letters import first_taken_ms
from worker.stream.decode import not_json
from worker.types import LABELS, Correction, Record

_CORRECTION = msgspec.json.Decoder(Correction)
_MOST_PARTITION = 2**31 - 1
_MOST_OFFSET = 2**63 - 1
_FIRST_YEAR = 1970


class LabelRef(NamedTuple):
    """Where a label lies."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}/{self.partition}/{self.offset}"


def decode(record: Record) -> Correction:
    """The correction in a record.

    Raises:
        BadRecordError: with `kind` one of `empty_value`, `invalid_utf8`, `invalid_json`, `wrong_type`,
            `invalid_id`, `unknown_label_name`, `invalid_label_ref`, `nobody`, `invalid_time`.
    """
    if record.value is None:
        raise BadRecordError("empty_value", "a correction cannot be deleted: send another of the label")
    try:
        correction = _CORRECTION.decode(record.value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _explained(record.value, error) from None
    if not correction.by.strip():
        raise _bad("nobody")
    if correction.at.year < _FIRST_YEAR:
        raise _bad("invalid_time")
    return correction


def check_time(correction: Correction, record: Record, now: float, tolerance_s: float) -> None:
    """Refuse what claims to be said later than it was sent, or than now.

    Kafka's own timestamp counts too, so that a record which is read again later, or was put back from the
    dead letters, has the same answer.

    Raises:
        BadRecordError: `future_time`.
    """
    sent_ms = first_taken_ms(record)
    sent = now if sent_ms < 0 else min(now, sent_ms / 1000)
    latest = datetime.fromtimestamp(sent, UTC) + timedelta(seconds=tolerance_s)
    if correction.at > latest:
        raise BadRecordError(
            "future_time",
            f"at lies more than {tolerance_s:g} s after the record was sent: is the sender's clock right?",
        )


def reference(correction: Correction, labels_topic: str) -> LabelRef:
    """Where the label lies that is corrected.

    Raises:
        BadRecordError: `invalid_label_ref`, or `foreign_topic` for one of another topic than the labels'.
    """
    topic, partition, offset = correction.label_ref.split("/")
    ref = LabelRef(topic, int(partition), int(offset))
    if ref.topic != labels_topic:
        raise BadRecordError("foreign_topic", f"label_ref is not of the topic {labels_topic}")
    if ref.partition > _MOST_PARTITION or ref.offset > _MOST_OFFSET or str(ref) != correction.label_ref:
        raise _bad("invalid_label_ref")
    return ref


_REASONS = {
    "invalid_id": "id is missing, or neither a short string nor a number",
    "unknown_label_name": f"label is none of {', '.join(LABELS)}",
    "invalid_label_ref": "label_ref is not topic/partition/offset",
    "nobody": "by is missing or empty: who says so?",
    "invalid_time": "at is not RFC 3339 with a time zone, from 1970 on",
    "wrong_type": "the value is not a correction",
}
_KIND_OF_FIELD = {
    "id": "invalid_id",
    "label": "unknown_label_name",
    "label_ref": "invalid_label_ref",
    "by": "nobody",
    "at": "invalid_time",
}
_FIELD = re.compile(r"missing required field `(\w+)`|at `\$\.(\w+)`$")
"""How msgspec's messages end; the rest of them may quote the record and must not travel on."""


def _bad(kind: str) -> BadRecordError:
    return BadRecordError(kind, _REASONS[kind])


def _explained(value: bytes, error: Exception) -> BadRecordError:
    """What is wrong with a value that is no correction."""
    unreadable = not_json(value, error)
    if unreadable is not None:
        return unreadable
    found = _FIELD.search(str(error))
    return _bad(_KIND_OF_FIELD.get(found[1] or found[2], "wrong_type") if found else "wrong_type")
