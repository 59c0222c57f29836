"""What a batch adds besides numbers: authors and samples, for `apply.lua`. Pure functions."""

from __future__ import annotations

import hashlib
from bisect import bisect_right
from collections.abc import Callable, Iterator, Sequence
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import msgspec
import numpy as np

from worker.trends.columns import Columns, Tally, runs
from worker.trends.counting import Batch, Event
from worker.trends.keys import Due, authors, samples
from worker.trends.sampling import ranks_of
from worker.trends.store import Limits, Sample
from worker.trends.windows import DAY, HOUR, HOURS, MINUTE, MINUTES, Bucket

_MERGED_FROM = 250
"""Authors of a day from which on merging the sketches of its hours is cheaper than adding them once more."""

NO_KEY = "-" * 16
"""Stands for the digest of a record that has no key, so that nothing can delete it."""


def digest_of(key: bytes) -> str:
    """16 characters for a record's key, by which a deletion finds its samples."""
    return hashlib.blake2b(key, digest_size=8).hexdigest()


def sketch_rows(columns: Columns, limits: Limits, due: Due) -> tuple[list[str], list[object], list[object]]:
    """The different authors; for each sketch which of them to add; for each which others to merge into it."""
    row, series = columns.members("eslq").of(columns.author >= 0)
    hour, author = columns.minute[row] * MINUTE // HOUR, columns.author[row]
    first = Tally.of(series, hour, author).first
    series, hour, author = series[first], hour[first], author[first]
    kept_s = limits.details_kept_s(MINUTES)
    whose, hours, authored = series.tolist(), hour.tolist(), author.tolist()
    adds: list[object] = []
    for start, end in runs(series, hour):
        bucket, one = Bucket("h", hours[start]), whose[start]
        expires = due(authors(bucket, columns.texts[one]), kept_s)
        adds.append((str(bucket), *columns.settled[one], expires, authored[start:end]))
    day = hour * HOUR // DAY
    days, kept_s = day.tolist(), limits.details_kept_s(HOURS)
    merges: list[object] = []
    for start, end in runs(series, day):
        bucket, one = Bucket("d", days[start]), whose[start]
        place = (str(bucket), *columns.settled[one], due(authors(bucket, columns.texts[one]), kept_s))
        found = authored[start:end]
        if hours[start] != hours[end - 1]:
            found = list(dict.fromkeys(found))
        if len(found) < _MERGED_FROM:
            adds.append((*place, found))
        else:
            merges.append((*place, [f"h:{number}" for number in dict.fromkeys(hours[start:end])]))
    return columns.authors, adds, merges


Bound = Callable[[str], int]
"""`bound(key)`: the rank from which on a set of samples is known to take none."""


class SampleRow(NamedTuple):
    """What a set of samples may get."""

    key: str
    expires: int
    most: int
    """How many it keeps."""
    posts: list[object]
    """Rank, digest and JSON of each, one after another; the smallest ranks first."""


def sample_rows(
    batches: Sequence[Batch], columns: Columns, limits: Limits, topic: str, *, due: Due, bound: Bound
) -> list[SampleRow]:
    """Of each hour and emotion, query or slice the posts that may be among its few: rank, digest, JSON.

    The JSON is empty where its own batch deletes the post: it keeps its place, so that which others are kept
    does not depend on where a batch ends. The digest is that of its record's key.
    `columns`: of the batches' events, one batch after the other.
    """
    if not limits.samples:
        return []
    labels = [event.label for batch in batches for event in batch.events]
    ranks = ranks_of(["" if label is None else label.input for label in labels])
    ranks[[row for row, label in enumerate(labels) if label is None]] = -1
    row, series = columns.members("eqr").of(ranks >= 0)
    hour, rank = columns.minute[row] * MINUTE // HOUR, ranks[row]
    first = Tally.of(series, hour, rank).first
    row, series, hour, rank = row[first], series[first], hour[first], rank[first]
    shown = _shown(batches, limits, topic)
    kept_s = limits.details_kept_s(MINUTES)
    rows: list[SampleRow] = []
    whose, hours = series.tolist(), hour.tolist()
    for start, end in runs(series, hour):
        one = whose[start]
        key = samples(hours[start], columns.texts[one])
        most = limits.query_samples if columns.series[one].letter == "q" else limits.samples
        fits = np.searchsorted(rank[start : min(end, start + most)], bound(key))
        if fits:
            posts: list[object] = []
            for number in range(start, start + int(fits)):
                posts += (int(rank[number]), *shown(int(row[number])))
            rows.append(SampleRow(key, due(key, kept_s), most, posts))
    return rows


def _shown(batches: Sequence[Batch], limits: Limits, topic: str) -> Callable[[int], tuple[str, str]]:
    """Digest and JSON of a label, by its place among those of all batches."""
    ends = list(accumulate(len(batch.events) for batch in batches))
    deleted_at = [{deletion.key: deletion.offset for deletion in batch.deletions} for batch in batches]

    @cache
    def of(number: int) -> tuple[str, str]:
        of_batch = bisect_right(ends, number)
        batch = batches[of_batch]
        event = batch.events[number - ends[of_batch]]  # counted from the end: `ends` is where the batch ends
        key = event.key or b""
        digest = digest_of(key) if key else NO_KEY
        if event.offset < deleted_at[of_batch].get(key, -1):
            return digest, ""
        sample = sample_of(event, f"{topic}/{batch.partition}/{event.offset}", text=limits.store_text)
        return digest, msgspec.json.encode(sample).decode()

    return of


def sample_of(event: Event, label_ref: str, *, text: bool) -> Sample:
    """What is shown of a post; with its text only if that may be stored."""
    label = event.label
    assert label is not None  # noqa: S101 - only those with a label are drawn
    return Sample(
        id=label.shown_id,
        label=label.label,
        score=label.score,
        created_at=label.created_at,
        source=label.source,
        input=label.input,
        label_ref=label_ref,
        lang=label.lang,
        text=label.text if text else None,
    )


def hours_in(day: int) -> Iterator[Bucket]:
    """The hours of a day since the epoch."""
    return (Bucket("h", hour) for hour in range(day * 24, (day + 1) * 24))
