"""From a batch to what it adds to the keys of Redis, for `apply.lua`. Pure functions.

Everything is added up here as far as it can be: one command inside the script takes as long as counting
several labels in Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from worker.trends.counting import Batch, Cell, Event
from worker.trends.details import sample_rows, sketch_rows
from worker.trends.grouping import Groups, grouped
from worker.trends.keys import (
    ALL_LABELS,
    LANGS,
    OUTSIDE,
    SOURCES,
    Due,
    Series,
    counts,
    field,
    new_terms,
    row_of,
)
from worker.trends.shapes import MOST_FIELDS, observed, rows_of
from worker.trends.store import Limits
from worker.trends.term_table import TermTable, packed
from worker.trends.windows import DAYS, HOUR, MINUTE, MINUTES, TIERS, Bucket


class Delta(NamedTuple):
    """The arguments of the script."""

    blob: bytes
    """All but the terms, as MessagePack, which Redis' Lua unpacks by itself (though not its binary type)."""
    terms: list[bytes]
    """Packed tables."""
    hours: list[int]
    """The hours of these tables."""


_Numbers = dict[tuple[int, str, Series], tuple[int, int]]
"""Per slot (since the epoch), emotion and series: how many labels, and the sum of their scores."""


class Erased(NamedTuple):
    """Samples that a batch deletes: what their keys begin with, where they are listed, of whom, the list."""

    prefix: str
    listed_in: str
    digest: str
    places: str


def delta_of(batch: Batch, limits: Limits, topic: str, erased: Sequence[Erased], due: Due) -> Delta:
    """What a batch adds."""
    groups = grouped(batch.events)
    tables = _tables(batch.events)
    kept_s = limits.details_kept_s(MINUTES)
    names_kept_s = limits.counts_kept_s(DAYS)
    sources = list(dict.fromkeys(cell.source for cell, _ in groups))
    langs = list(dict.fromkeys(lang for _, lang in groups if lang is not None))
    blob = (
        (
            (SOURCES, limits.max_sources, sources, due(SOURCES, names_kept_s) if sources else 0),
            (LANGS, limits.max_langs, langs, due(LANGS, names_kept_s) if langs else 0),
        ),
        list(_count_rows(groups, batch.events, limits, due)),
        *sketch_rows(groups, batch.events, limits, due),
        [(name, due(name, kept_s)) for name in (new_terms(Bucket("h", hour)) for hour in tables)],
        sample_rows(batch, limits, topic, due),
        erased,
        [outside.side for outside in batch.outside],
        due(OUTSIDE, names_kept_s) if batch.outside else 0,
        list(rows_of(observed(batch.events), int(limits.shapes_s), due)) if limits.shapes_s else [],
        MOST_FIELDS,
    )
    return Delta(msgspec.msgpack.encode(blob), [packed(table) for table in tables.values()], list(tables))


def _count_rows(groups: Groups, events: Iterable[Event], limits: Limits, due: Due) -> Iterator[object]:
    """Of each bucket and series: where it is, and fields with what is added to count and sum of scores."""
    numbers, slot_s = _by_minute(groups, events), MINUTE
    for tier in TIERS.values():
        numbers = _coarser(numbers, tier.slot_s // slot_s)
        slot_s = tier.slot_s
        slots = tier.span_s // slot_s
        rows: defaultdict[tuple[int, Series], list[str | int]] = defaultdict(list)
        for (slot, emotion, series), (n, scores) in numbers.items():
            number, within = divmod(slot, slots)
            rows[number, series] += (field(within, emotion), n, scores)
        kept_s = limits.counts_kept_s(tier)
        for (number, series), added in rows.items():
            bucket = Bucket(tier.letter, number)
            yield (*row_of(bucket, series), due(counts(bucket, series), kept_s), added)


def _by_minute(groups: Groups, events: Iterable[Event]) -> _Numbers:
    numbers: _Numbers = {}
    for (cell, lang), group in groups.items():
        for series in _series(cell, lang):
            place = (cell.minute, cell.emotion, series)
            n, scores = numbers.get(place, (0, 0))
            numbers[place] = (n + group.n, scores + group.scores)
    for event in events:
        for query in event.queries:
            place = (event.cell.minute, event.cell.emotion, Series("q", query))
            n, scores = numbers.get(place, (0, 0))
            numbers[place] = (n + 1, scores + event.score)
    return numbers


def _series(cell: Cell, lang: str | None) -> tuple[Series, ...]:
    if lang is None:
        return ALL_LABELS, Series("s", cell.source)
    return ALL_LABELS, Series("s", cell.source), Series("l", lang)


def _coarser(numbers: _Numbers, factor: int) -> _Numbers:
    if factor == 1:
        return numbers
    coarse: _Numbers = {}
    for (slot, emotion, series), (n, scores) in numbers.items():
        place = (slot // factor, emotion, series)
        before = coarse.get(place, (0, 0))
        coarse[place] = (before[0] + n, before[1] + scores)
    return coarse


def _tables(events: Iterable[Event]) -> dict[int, TermTable]:
    """Per hour since the epoch: what its posts hold."""
    posts: defaultdict[int, defaultdict[str, list[Sequence[str]]]]
    posts = defaultdict(lambda: defaultdict(list))
    for event in events:
        if event.terms:
            posts[event.cell.minute * MINUTE // HOUR][event.cell.emotion].append(event.terms)
    return {hour: TermTable.of(of_hour) for hour, of_hour in posts.items()}
