"""From a classified batch to the records that leave: labels, dead letters, tombstones. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import msgspec
import numpy as np

from worker.errors import BadRecordError
from worker.stream.batch import Batch, Entry
from worker.types import LABELS, Classified, Headers, Label, OutRecord, Post, Scores

_DECIMALS = 6
_ENCODE = msgspec.json.Encoder().encode


@dataclass(frozen=True, slots=True)
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


def outgoing(batch: Batch, answer: Classified, to: Destination, now: datetime) -> list[OutRecord]:
    """One record out for each record in, in the same order.

    A post becomes a label, a deletion a tombstone of the same key, a bad record a dead letter. `answer` has
    a row for each of `batch.posts`.

    Raises:
        ValueError: `answer` has another number of rows: labelling the wrong posts must be impossible.
    """
    rows = iter(
        zip(
            np.round(answer.scores, _DECIMALS).tolist(),
            np.round(answer.neutral, _DECIMALS).tolist(),
            answer.label.tolist(),
            strict=True,
        )
    )
    out = []
    for entry in batch.entries:
        what = entry.what
        if isinstance(what, Post):
            row = next(rows, None)
            if row is None:
                raise ValueError("fewer answers than posts")
            out.append(_label(entry, what, row, to, now))
        elif isinstance(what, BadRecordError):
            out.append(_dead_letter(entry, what, to, now))
        else:
            out.append(OutRecord(to.labels, what.key, None))
    if next(rows, None) is not None:
        raise ValueError("more answers than posts")
    return out


def _label(
    entry: Entry, post: Post, row: tuple[list[float], float, int], to: Destination, now: datetime
) -> OutRecord:
    scores, neutral, index = row
    record = entry.record
    label = Label(
        id=post.id,
        source=post.source or record.topic,
        label=LABELS[index],
        score=scores[index] if index < len(scores) else neutral,
        scores=Scores(*scores),
        neutral=neutral,
        model=to.model,
        created_at=entry.written_at or now,
        labelled_at=now,
        input=f"{record.topic}/{record.partition}/{record.offset}",
        lang=post.lang,
        author_id=post.author_id,
    )
    return OutRecord(to.labels, record.key, _ENCODE(label))


def _dead_letter(entry: Entry, error: BadRecordError, to: Destination, now: datetime) -> OutRecord:
    """The original bytes, with what is known about them in the headers."""
    record = entry.record
    facts: Mapping[str, str] = {
        "topic": record.topic,
        "partition": str(record.partition),
        "offset": str(record.offset),
        "error": error.kind,
        "message": error.reason,
        "worker": to.version,
        "model": to.model,
        "time": now.isoformat(),
    }
    headers: Headers = [(f"moodstream.{name}", value.encode()) for name, value in facts.items()]
    return OutRecord(to.dead_letters, record.key, record.value, headers)
