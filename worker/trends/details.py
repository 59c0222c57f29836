"""What a batch adds besides numbers: authors and samples, for `apply.lua`. Pure functions."""

from __future__ import annotations

import hashlib
import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator
from functools import cache

import msgspec

from worker.trends.counting import Batch, Event
from worker.trends.grouping import Groups
from worker.trends.keys import Due, Series, authors, row_of, samples
from worker.trends.sampling import rank_of
from worker.trends.store import Limits, Sample
from worker.trends.windows import DAY, HOUR, HOURS, MINUTE, MINUTES, Bucket

_MERGED_FROM = 250
"""Authors of a day from which on merging the sketches of its hours is cheaper than adding them once more."""

_Sets = defaultdict[tuple[int, Series], set[str]]


NO_KEY = "-" * 16
"""Stands for the digest of a record that has no key, so that nothing can delete it."""


def digest_of(key: bytes) -> str:
    """16 characters for a record's key, by which a deletion finds its samples."""
    return hashlib.blake2b(key, digest_size=8).hexdigest()


def sketch_rows(
    groups: Groups, events: Iterable[Event], limits: Limits, due: Due
) -> tuple[list[str], list[object], list[object]]:
    """The different authors; for each sketch which of them to add; for each which others to merge into it."""
    by_hour = _authors_by_hour(groups, events)
    by_day: _Sets = defaultdict(set)
    hours_of_day: defaultdict[tuple[int, Series], list[int]] = defaultdict(list)
    for (hour, series), found in by_hour.items():
        by_day[hour * HOUR // DAY, series] |= found
        hours_of_day[hour * HOUR // DAY, series].append(hour)
    numbers = {
        author: number for number, author in enumerate({a for found in by_hour.values() for a in found})
    }
    kept_s = limits.details_kept_s(MINUTES)
    adds: list[object] = []
    for (hour, series), found in by_hour.items():
        bucket = Bucket("h", hour)
        expires = due(authors(bucket, series), kept_s)
        adds.append((*row_of(bucket, series), expires, [numbers[author] for author in found]))
    kept_s = limits.details_kept_s(HOURS)
    merges: list[object] = []
    for (day, series), found in by_day.items():
        bucket = Bucket("d", day)
        row = (*row_of(bucket, series), due(authors(bucket, series), kept_s))
        if len(found) < _MERGED_FROM:
            adds.append((*row, [numbers[author] for author in found]))
        else:
            merges.append((*row, [f"h:{hour}" for hour in hours_of_day[day, series]]))
    return list(numbers), adds, merges


def _authors_by_hour(groups: Groups, events: Iterable[Event]) -> _Sets:
    found: _Sets = defaultdict(set)
    for (cell, lang), group in groups.items():
        if group.authors:
            hour = cell.minute * MINUTE // HOUR
            found[hour, Series("e", cell.emotion)] |= group.authors
            found[hour, Series("s", cell.source)] |= group.authors
            if lang is not None:
                found[hour, Series("l", lang)] |= group.authors
    for event in events:
        if event.queries and event.author is not None:
            hour = event.cell.minute * MINUTE // HOUR
            for query in event.queries:
                found[hour, Series("q", query)].add(event.author)
    return found


def sample_rows(batch: Batch, limits: Limits, topic: str, due: Due) -> list[object]:
    """Of each hour and emotion, query or slice the posts that may be among its few: rank, digest, JSON.

    The JSON is empty where the batch itself deletes the post: it keeps its place, so that which others are
    kept does not depend on where a batch ends. The digest is that of its record's key.
    """
    if not limits.samples:
        return []
    ranked: defaultdict[tuple[int, Series], dict[int, int]] = defaultdict(dict)
    for number, event in enumerate(batch.events):
        if event.label is not None:
            rank = rank_of(event.label.input)
            hour = event.cell.minute * MINUTE // HOUR
            ranked[hour, Series("e", event.cell.emotion)].setdefault(rank, number)
            for query in event.queries:
                ranked[hour, Series("q", query)].setdefault(rank, number)
            for one in event.slices:
                ranked[hour, Series("r", one)].setdefault(rank, number)
    shown = _shown(batch, limits, topic)
    kept_s = limits.details_kept_s(MINUTES)
    rows: list[object] = []
    for (hour, series), found in ranked.items():
        most = limits.query_samples if series.letter == "q" else limits.samples
        posts: list[object] = []
        for rank, number in heapq.nsmallest(most, found.items()):
            posts += (rank, *shown(number))
        key = samples(hour, series)
        rows.append((key, due(key, kept_s), most, posts))
    return rows


def _shown(batch: Batch, limits: Limits, topic: str) -> Callable[[int], tuple[str, str]]:
    deleted_at = {deletion.key: deletion.offset for deletion in batch.deletions}

    @cache
    def of(number: int) -> tuple[str, str]:
        event = batch.events[number]
        key = event.key or b""
        digest = digest_of(key) if key else NO_KEY
        if event.offset < deleted_at.get(key, -1):
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
