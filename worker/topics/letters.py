"""Dead letters read back: what each is, which are wanted, and the record that puts one back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import msgspec

from worker.stream.dead_letters import (
    PREFIX,
    REDRIVEN_AT,
    REDRIVEN_FROM,
    REDRIVEN_TIMES,
    REDRIVEN_TIMESTAMP,
    first_taken_ms,
    record_size,
)
from worker.types import ANY_PARTITION, Headers, OutRecord, Record

_MOST_DIGITS = 18
_HEADERS_ADDED = 1024
"""Bytes, at most, that putting a record back adds to it."""

Why = Literal["other", "too_often", "too_large", "elsewhere"]
"""Why a letter stays: the filters do not ask for it; it came back too often; its topic does not take it, or
not all of it is here; nothing is put back into its topic, or it is gone."""


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter."""

    record: Record
    """As it lies among the dead letters."""
    topic: str
    """Where the original lies, as its partition and offset."""
    partition: int
    offset: int
    kind: str
    message: str
    found_at: float
    """When it was found to be bad, in epoch seconds."""
    worker: str
    model: str
    timestamp_ms: int
    """Kafka's timestamp of the original when it first came; -1 where that is not known."""
    cut: tuple[str, ...]
    """Parts of the original that are not all here."""
    redriven: int
    """How often it was put back before it came here again."""

    @property
    def input(self) -> str:
        """`topic/partition/offset` of the original."""
        return f"{self.topic}/{self.partition}/{self.offset}"

    @property
    def headers(self) -> Headers:
        """The headers of the original, less what putting it back had added."""
        return [header for header in self.record.headers if not header[0].startswith(PREFIX)]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which letters somebody asks for; nothing given: all."""

    kinds: frozenset[str] = frozenset()
    topics: frozenset[str] = frozenset()
    since: float | None = None
    """Epoch seconds at which they were found to be bad: from then on."""
    until: float | None = None
    """Up to then, exclusive."""

    def matches(self, letter: Letter) -> bool:
        """Whether a letter is asked for."""
        return (
            (not self.kinds or letter.kind in self.kinds)
            and (not self.topics or letter.topic in self.topics)
            and (self.since is None or letter.found_at >= self.since)
            and (self.until is None or letter.found_at < self.until)
        )


@dataclass(frozen=True, slots=True)
class Rules:
    """What may be put back at all."""

    partitions: Mapping[str, int]
    """Of the topics that letters go back to and that exist: how many. Nothing is written to any other,
    whatever a header says."""
    max_bytes: int
    """Largest record that they take."""
    max_redrives: int
    """A letter that was put back so often stays."""


def letter_of(record: Record) -> Letter | None:
    """The dead letter that a record is; None where it is none of ours."""
    facts = {name: value for name, value in record.headers if isinstance(value, bytes)}

    def text(name: str) -> str:
        return facts.get(PREFIX + name, b"").decode(errors="replace")

    def number(name: str) -> int | None:
        digits = text(name)
        ours = digits.isascii() and digits.removeprefix("-").isdigit() and len(digits) <= _MOST_DIGITS
        return int(digits) if ours else None

    partition, offset = number("partition"), number("offset")
    if not text("topic") or not text("error") or partition is None or offset is None:
        return None
    came_ms = number("timestamp")
    # The record's own timestamp is when the worker wrote it here.
    original = msgspec.structs.replace(record, timestamp_ms=-1 if came_ms is None else came_ms)
    return Letter(
        record=record,
        topic=text("topic"),
        partition=partition,
        offset=offset,
        kind=text("error"),
        message=text("message"),
        found_at=_epoch(text("time"), record.timestamp_ms),
        worker=text("worker"),
        model=text("model"),
        timestamp_ms=first_taken_ms(original),
        cut=tuple(filter(None, text("cut").split(","))),
        redriven=max(0, number(REDRIVEN_TIMES.removeprefix(PREFIX)) or 0),
    )


def _epoch(time: str, else_ms: int) -> float:
    try:
        found = datetime.fromisoformat(time)
    except ValueError:
        return else_ms / 1000
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def why_not(letter: Letter, wanted: Wanted, rules: Rules) -> Why | None:
    """Why a letter is not put back; None where it is."""
    if not wanted.matches(letter):
        return "other"
    if letter.topic not in rules.partitions:
        return "elsewhere"
    if letter.cut or record_size(letter.record) + _HEADERS_ADDED > rules.max_bytes:
        return "too_large"
    if letter.redriven >= rules.max_redrives:
        return "too_often"
    return None


def put_back(letter: Letter, rules: Rules, now: datetime) -> OutRecord:
    """The original again, for the topic and the partition that it came from.

    Same key, same bytes, same headers, and some of ours: where it comes from, how often it was put back, and
    when it first came, so that a post that does not say when it was written is counted there again.
    """
    lies = letter.record
    ours = {
        REDRIVEN_FROM: f"{lies.topic}/{lies.partition}/{lies.offset}",
        REDRIVEN_TIMES: str(letter.redriven + 1),
        REDRIVEN_AT: now.isoformat(),
    }
    if letter.timestamp_ms >= 0:
        ours[REDRIVEN_TIMESTAMP] = str(letter.timestamp_ms)
    there = 0 <= letter.partition < rules.partitions[letter.topic]
    return OutRecord(
        letter.topic,
        lies.key,
        lies.value,
        [*letter.headers, *((name, value.encode()) for name, value in ours.items())],
        letter.partition if there else ANY_PARTITION,
    )
