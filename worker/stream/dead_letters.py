"""Dead letters: the original bytes, with what is known about them in the headers. Pure.

A dead letter holds key, value and headers of the record as they came, then the worker's own headers:

    moodstream.topic, .partition, .offset    where the record lies
    moodstream.timestamp                     Kafka's timestamp of it, in milliseconds since the epoch
    moodstream.error, .message               what is wrong: a kind of few, and a sentence
    moodstream.worker, .model, .time         who found that, and when
    moodstream.cut                           parts that did not fit: `value`, `headers`, `key`

One that was put back into its topic (`moodstream topics redrive`) carries `moodstream.redriven.*`; these
stay on it if it fails again.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from worker.errors import BadRecordError
from worker.types import Headers, OutRecord, Record

PREFIX = "moodstream."
REDRIVEN = f"{PREFIX}redriven."
REDRIVEN_FROM = f"{REDRIVEN}from"
"""`topic/partition/offset` of the dead letter."""
REDRIVEN_TIMES = f"{REDRIVEN}times"
REDRIVEN_AT = f"{REDRIVEN}at"
REDRIVEN_TIMESTAMP = f"{REDRIVEN}timestamp"
"""Kafka's timestamp of the record when it first came, in milliseconds."""

HEADER_ROOM = 64 * 1024
"""Bytes that a dead letter may be larger than the record it holds."""
_SPARE = 4 * 1024
"""Of that: for what Kafka adds to a record and to a batch."""
_A_HEADER = 8
"""Bytes beside name and value, at most."""


class Finder(NamedTuple):
    """Who writes dead letters, and where to."""

    topic: str
    worker: str
    """Version."""
    model: str | None
    """`name@version`; None where no model was to answer."""
    max_bytes: int
    """Largest record of the inputs, as the settings have it."""


def dead_letter(record: Record, error: BadRecordError, finder: Finder, now: datetime) -> OutRecord:
    """The record as a dead letter.

    Whatever is too large for its topic is cut, and `moodstream.cut` says so: a record that a producer has
    compressed may be many times what the topics take, and must not stop the stream.
    """
    facts = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "timestamp": str(record.timestamp_ms),
        "error": error.kind,
        "message": error.reason,
        "worker": finder.worker,
        "time": now.isoformat(),
    }
    if finder.model is not None:
        facts["model"] = finder.model
    room = finder.max_bytes + HEADER_ROOM - _SPARE - sum(len(n) + len(v.encode()) for n, v in facts.items())
    key, headers, value, cut = _fitted(record, room)
    if cut:
        facts["cut"] = ",".join(cut)
    ours: Headers = [(f"{PREFIX}{name}", fact.encode()) for name, fact in facts.items()]
    return OutRecord(finder.topic, key, value, headers + ours)


def first_taken_ms(record: Record) -> int:
    """Kafka's timestamp of a record when it first came: of one put back, not the time of that."""
    for name, value in record.headers:
        if name == REDRIVEN_TIMESTAMP and isinstance(value, bytes) and value.isdigit():
            return int(value[:_DIGITS])
    return record.timestamp_ms


_DIGITS = 15
"""Enough for the years to come, and no number that Python refuses to read."""


def _fitted(record: Record, room: int) -> tuple[bytes | None, Headers, bytes | None, list[str]]:
    """Key, headers and value in `room` bytes; what is worth more gets its place first. Names what was cut."""
    cut = []
    key, value = record.key, record.value
    headers = [header for header in record.headers if _travels(header[0])]
    if key is not None and len(key) > room:
        key = key[:room]
        cut.append("key")
    room -= len(key or b"")
    if _size(headers) > room:
        headers = []
        cut.append("headers")
    room -= _size(headers)
    if value is not None and len(value) > room:
        value = value[:room]
        cut.append("value")
    return key, headers, value, cut


def _travels(name: str) -> bool:
    """Whether a record's own header goes on with it: all but those that only the worker may write."""
    return not name.startswith(PREFIX) or name.startswith(REDRIVEN)


def record_size(record: Record) -> int:
    """Bytes of a record as a topic counts them, roughly."""
    return len(record.key or b"") + len(record.value or b"") + _size(record.headers)


def _size(headers: Headers) -> int:
    return sum(len(name.encode()) + len(value or b"") + _A_HEADER for name, value in headers)
