"""From a classified batch to the records that leave: labels, dead letters, tombstones. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property

import msgspec
import numpy as np

from worker.errors import BadRecordError
from worker.stream.batch import Batch, Entry
from worker.stream.cloud_events import Events
from worker.stream.dead_letters import PREFIX, Finder, dead_letter
from worker.types import LABELS, MAX_LABEL_TEXT, Classified, Label, OutRecord, Post, Record, Scores

INPUT = f"{PREFIX}input"
"""Header of a tombstone: the deletion's `topic/partition/offset`, as a label says its input."""
Row = tuple[list[float], float, int]
"""The six scores, the probability of neutral, and the index into `LABELS`."""
_DECIMALS = 6
_ENCODE = msgspec.json.Encoder().encode


@dataclass(frozen=True)
class Destination:
    """Where records go and who made them."""

    labels: str
    """Topic."""
    dead_letters: str
    """Topic."""
    model: str
    """`name@version`."""
    version: str
    """Of the worker."""
    text: bool = True
    """Whether labels carry the text of their posts."""
    max_bytes: int = 2 * 1024 * 1024
    """Largest record of the inputs."""
    encode: Callable[[Label], bytes] = _ENCODE
    """What a label's value is."""
    events: Events | None = None
    """What makes a CloudEvent of it; None: it is none."""

    @cached_property
    def finder(self) -> Finder:
        """The same, as dead letters need it."""
        return Finder(self.dead_letters, self.version, self.model, self.max_bytes)

    def by(self, model: str) -> Destination:
        """The same, for what another model has answered."""
        return self if model == self.model else replace(self, model=model)


def outgoing(batch: Batch, answer: Classified, to: Destination, now: datetime) -> list[OutRecord]:
    """One record out for each record in, in the same order.

    A post becomes a label, a deletion a tombstone of the same key, a bad record a dead letter. `answer` has
    a row for each of `batch.posts`.

    Raises:
        ValueError: `answer` has another number of rows: labelling the wrong posts must be impossible.
    """
    rows = rows_of(answer)
    out = []
    for entry in batch.entries:
        what = entry.what
        if isinstance(what, Post):
            row = next(rows, None)
            if row is None:
                raise ValueError("fewer answers than posts")
            out.append(_label(entry, what, row, to, now))
        elif isinstance(what, BadRecordError):
            out.append(dead_letter(entry.record, what, to.finder, now))
        else:
            out.append(_tombstone(entry.record, what.key, to, now))
    if next(rows, None) is not None:
        raise ValueError("more answers than posts")
    return out


def rows_of(answer: Classified) -> Iterator[Row]:
    """Each row of an answer with the digits that a label has."""
    return zip(
        np.round(answer.scores, _DECIMALS).tolist(),
        np.round(answer.neutral, _DECIMALS).tolist(),
        answer.label.tolist(),
        strict=True,
    )


def score_of(row: Row) -> float:
    """The probability of the label given: of the emotion among the six, or of neutral."""
    scores, neutral, index = row
    return scores[index] if index < len(scores) else neutral


def _label(entry: Entry, post: Post, row: Row, to: Destination, now: datetime) -> OutRecord:
    scores, neutral, index = row
    record = entry.record
    label = Label(
        id=post.id,
        source=post.source or record.topic,
        label=LABELS[index],
        score=score_of(row),
        scores=Scores(*scores),
        neutral=neutral,
        model=to.model,
        created_at=entry.written_at or now,
        labelled_at=now,
        input=_input(record),
        lang=post.lang,
        author_id=post.author_id,
        text=post.text[:MAX_LABEL_TEXT] if to.text else None,
    )
    if to.events is None:
        return OutRecord(to.labels, record.key, to.encode(label))
    return OutRecord(to.labels, record.key, to.encode(label), to.events.label(label.input, now))


def _tombstone(record: Record, key: bytes | None, to: Destination, now: datetime) -> OutRecord:
    where = _input(record)
    headers = [] if to.events is None else to.events.deletion(where, now)
    return OutRecord(to.labels, key, None, [(INPUT, where.encode()), *headers])


def _input(record: Record) -> str:
    return f"{record.topic}/{record.partition}/{record.offset}"
