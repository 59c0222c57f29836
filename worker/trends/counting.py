"""From records to counts: pure functions that know no Kafka, no Redis and no clock."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from itertools import pairwise, repeat
from operator import attrgetter
from typing import Annotated, Literal, NamedTuple, Protocol

import msgspec

from worker.errors import BadRecordError
from worker.slices import Review, Slice
from worker.trends.vocabulary import Scanned, Vocabulary
from worker.trends.windows import SCORE_UNITS
from worker.types import LabelName, Record, Scores

OTHER = "other"
"""Where a source or language is counted that has no name of its own here: too many before it, or too long."""

MAX_SOURCE = 64
"""Longest name of a source, in characters; longer ones would let one producer fill the store."""
MAX_LANG = 16

_NO_SCORES = Scores(0, 0, 0, 0, 0, 0)
"""Of a label that has none: the quality role could not read it, so it is not offered for review."""

_ROUNDED = 2**53
"""From here on a 64-bit float does not hold every whole number."""

_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Moment = Annotated[datetime, msgspec.Meta(tz=True)]


class CountedLabel(msgspec.Struct):
    """The part of `worker.types.Label` that trends look at; the decoder steps over the rest."""

    label: LabelName
    source: str
    created_at: _Moment
    score: _Share = 0.0
    labelled_at: _Moment | None = None
    id: str | int = ""
    input: str = ""
    lang: str | None = None
    author_id: str | int | None = None
    text: str | None = None
    model: str = ""
    scores: Scores = _NO_SCORES
    neutral: float = 0.0

    @property
    def shown_id(self) -> str | int:
        """The id as a browser can give it back in a correction: JavaScript rounds larger numbers."""
        return self.id if isinstance(self.id, str) or abs(self.id) < _ROUNDED else str(self.id)


_decoder = msgspec.json.Decoder(CountedLabel)
ReadLabel = Callable[[bytes], CountedLabel]

in_json: ReadLabel = _decoder.decode
"""What reads a label that is JSON."""


class Cell(NamedTuple):
    """What is counted together."""

    minute: int
    """Of the post, in minutes since the epoch, UTC."""
    emotion: str
    source: str


class Event(NamedTuple):
    """One label that counts."""

    offset: int
    cell: Cell
    score: int = 0
    """In `SCORE_UNITS`."""
    lang: str | None = None
    author: str | None = None
    queries: Sequence[str] = ()
    """Ids of the tracked queries that it matches."""
    terms: Sequence[str] = ()
    label: CountedLabel | None = None
    """What a sample would show."""
    key: bytes | None = None
    """Of the record: what deletes it."""
    slices: Sequence[Slice] = ()
    """Those that it may be reviewed for."""


class Deletion(NamedTuple):
    """A tombstone. Counts stay, because a count cannot tell whose it was; samples go."""

    offset: int
    key: bytes


class Outside(NamedTuple):
    """A label whose time is too far from when it was labelled: counted as that, and in no bucket."""

    offset: int
    side: Literal["late", "early"]


class Decoded(NamedTuple):
    """What some records hold, in the order of the records."""

    events: list[Event]
    deletions: list[Deletion]
    outside: list[Outside]
    invalid: list[int]
    """Offsets of the records that are no labels."""


class Said(NamedTuple):
    """What a post says of itself beside its text."""

    author_id: str | int | None
    lang: str | None
    source: str | None


class MatchesQueries(Protocol):
    """What finds the tracked queries of posts; `worker.trends.matcher.Matcher` is one."""

    def match_scanned(self, texts: Scanned, said: Sequence[Said]) -> Sequence[Sequence[str]]:
        """The ids of the queries that each post matches."""
        ...


@dataclass(frozen=True, slots=True)
class Reading:
    """What of a label is looked at. What the records hold and this decide all counts; nothing else does."""

    terms: bool = True
    queries: MatchesQueries | None = None
    vocabulary: Vocabulary = field(default_factory=Vocabulary, compare=False)
    """What cuts texts into tokens."""
    late_s: float = float("inf")
    """A post written longer than this before it was labelled counts as late."""
    early_s: float = float("inf")
    """And one written longer than this after, as early."""
    review: Review | None = None
    """How the slices are cut that labels are kept of to be reviewed; without it none are."""


def decode(records: Iterable[Record], reading: Reading = Reading(), read: ReadLabel = in_json) -> Decoded:
    """Decode the values of records of the labels topic. Never raises for what they hold.

    `read`: what a value is, JSON where not given. Other formats may raise
    RegistryAwayError: a schema is not known here, and the registry is away.
    """
    found = Decoded([], [], [], [])
    counted: list[Record] = []
    labels: list[CountedLabel] = []
    for record in records:
        if record.value is None:
            found.deletions.append(Deletion(record.offset, record.key or b""))
            continue
        try:
            label = read(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BadRecordError):
            found.invalid.append(record.offset)
            continue
        if label.labelled_at is not None:
            # Judged by the label alone, so that counting again gives the same.
            age = (label.labelled_at - label.created_at).total_seconds()
            if age > reading.late_s or -age > reading.early_s:
                found.outside.append(Outside(record.offset, "late" if age > 0 else "early"))
                continue
        counted.append(record)
        labels.append(label)
    found.events.extend(_events(counted, labels, reading))
    return found


def _events(records: Sequence[Record], labels: Sequence[CountedLabel], reading: Reading) -> Iterator[Event]:
    """What labels count as, built column by column: a call for each label would take twice the time."""
    cells = zip(
        [int(label.created_at.timestamp() // 60) for label in labels],
        [label.label for label in labels],
        [label.source if len(label.source) <= MAX_SOURCE else OTHER for label in labels],
        strict=True,
    )
    terms: Iterable[Sequence[str]] = repeat(())
    queries: Iterable[Sequence[str]] = repeat(())
    slices: Iterable[Sequence[Slice]] = repeat(())
    if reading.terms or reading.queries is not None:
        scanned = reading.vocabulary.scan([label.text or "" for label in labels])
        if reading.terms:
            terms = scanned.terms()
        if reading.queries is not None:
            said = [Said(label.author_id, label.lang, label.source) for label in labels]
            queries = reading.queries.match_scanned(scanned, said)
    if reading.review is not None:
        of = reading.review.slices
        slices = [of(label) if label.scores is not _NO_SCORES else () for label in labels]
    columns = zip(
        [record.offset for record in records],
        map(_cell, cells),
        [int(label.score * SCORE_UNITS + 0.5) for label in labels],
        [(label.lang if len(label.lang) <= MAX_LANG else OTHER) if label.lang else None for label in labels],
        [None if label.author_id is None else str(label.author_id) for label in labels],
        queries,
        terms,
        labels,
        [record.key for record in records],
        slices,
        strict=False,  # what nobody looks at has no end
    )
    return map(_event, columns)


_offset = attrgetter("offset")
_cell, _event = partial(tuple.__new__, Cell), partial(tuple.__new__, Event)
"""As `_make` of each, without its Python: a third of the time."""


@dataclass(frozen=True, slots=True)
class Batch:
    """All that one partition holds between two offsets."""

    partition: int
    start: int
    """Where reading began. The first event may come later: offsets have gaps (transaction markers)."""
    end: int
    """The next offset to read."""
    events: Sequence[Event]
    """In the order of their offsets."""
    deletions: Sequence[Deletion] = ()
    outside: Sequence[Outside] = ()

    @property
    def size(self) -> int:
        """How many events and matches of queries it holds together."""
        return len(self.events) + sum(len(event.queries) for event in self.events)

    def parts(self, most: int) -> Iterator[Batch]:
        """The batch, cut where one part holds `most` events and matches of queries together."""
        starts, held = [self.start], 0
        for event in self.events:
            if held >= most:
                starts.append(event.offset)
                held = 0
            held += 1 + len(event.queries)
        for start, end in pairwise([*starts, self.end]):
            yield self._between(start, end)

    def after(self, offset: int) -> Batch:
        """What is left of the batch where all before `offset` is already counted."""
        return self._between(offset, self.end)

    def _between(self, start: int, end: int) -> Batch:
        if (start, end) == (self.start, self.end):
            return self
        return aggregate(
            self.partition,
            start,
            end,
            self.events[
                bisect_left(self.events, start, key=_offset) : bisect_left(self.events, end, key=_offset)
            ],
            deletions=tuple(deletion for deletion in self.deletions if start <= deletion.offset < end),
            outside=tuple(outside for outside in self.outside if start <= outside.offset < end),
        )


def aggregate(
    partition: int,
    start: int,
    end: int,
    events: Sequence[Event],
    *,
    deletions: Sequence[Deletion] = (),
    outside: Sequence[Outside] = (),
) -> Batch:
    """The events of one partition, read from `start` up to, not including, `end`."""
    return Batch(partition, start, end, events, deletions, outside)
