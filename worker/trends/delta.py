"""From batches to what they add to the keys of Redis, for `apply.lua`. Pure functions.

Everything is added up here as far as it can be: one command inside the script takes as long as counting
several labels in Python.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import NamedTuple

import msgspec
import numpy as np

from worker.trends.columns import Columns, Tally, runs
from worker.trends.counting import Batch, Event
from worker.trends.details import Bound, sample_rows, sketch_rows
from worker.trends.keys import (
    LANGS,
    OUTSIDE,
    SOURCES,
    Due,
    counts,
    field,
    new_terms,
)
from worker.trends.shapes import MOST_FIELDS, observed, rows_of
from worker.trends.store import Limits
from worker.trends.term_table import TermTable, packed
from worker.trends.windows import DAYS, HOUR, MINUTE, MINUTES, TIERS, Bucket
from worker.types import LABELS


class Delta(NamedTuple):
    """The arguments of the script."""

    blob: bytes
    """All but the terms, as MessagePack, which Redis' Lua unpacks by itself (though not its binary type)."""
    terms: list[bytes]
    """Packed tables."""
    hours: list[int]
    """The hours of these tables."""
    sampled: list[str]
    """The keys of the sets that get samples."""


class Erased(NamedTuple):
    """Samples that a batch deletes: what their keys begin with, where they are listed, of whom, the list."""

    prefix: str
    listed_in: str
    digest: str
    places: str


def delta_of(
    batches: Sequence[Batch],
    limits: Limits,
    topic: str,
    *,
    due: Due,
    bound: Bound,
) -> Delta:
    """What batches of different partitions add together."""
    events = list(chain.from_iterable(batch.events for batch in batches))
    columns = Columns.of(events)
    tables = _tables(events)
    kept_s = limits.details_kept_s(MINUTES)
    names_kept_s = limits.counts_kept_s(DAYS)
    sources, langs = columns.names("s"), columns.names("l")
    samples = sample_rows(batches, columns, limits, topic, due=due, bound=bound)
    outside = [one.side for batch in batches for one in batch.outside]
    blob = (
        (
            (SOURCES, limits.max_sources, sources, due(SOURCES, names_kept_s) if sources else 0),
            (LANGS, limits.max_langs, langs, due(LANGS, names_kept_s) if langs else 0),
        ),
        list(_count_rows(columns, limits, due)),
        *sketch_rows(columns, limits, due),
        [(name, due(name, kept_s)) for name in (new_terms(Bucket("h", hour)) for hour in tables)],
        samples,
        outside,
        due(OUTSIDE, names_kept_s) if outside else 0,
        list(rows_of(observed(events, columns), int(limits.shapes_s), due)) if limits.shapes_s else [],
        MOST_FIELDS,
    )
    return Delta(
        msgspec.msgpack.encode(blob),
        [packed(table) for table in tables.values()],
        list(tables),
        [row.key for row in samples],
    )


def _count_rows(columns: Columns, limits: Limits, due: Due) -> Iterator[object]:
    """Of each bucket and series: where it is, and fields with what is added to count and sum of scores."""
    row, series = columns.members("aslq")
    slot, emotion, scores = columns.minute[row], columns.emotion[row], columns.score[row]
    n, slot_s = np.ones_like(row), MINUTE
    for tier in TIERS.values():
        slot, slot_s = slot // (tier.slot_s // slot_s), tier.slot_s
        tally = Tally.of(series, slot, emotion)
        n, scores = tally.sums(n), tally.sums(scores)
        series, slot, emotion = series[tally.first], slot[tally.first], emotion[tally.first]
        number, within = np.divmod(slot, tier.span_s // tier.slot_s)
        added: list[str | int] = [0] * (3 * len(n))
        added[0::3] = [_FIELDS[place] for place in (within * len(LABELS) + emotion).tolist()]
        added[1::3], added[2::3] = n.tolist(), scores.tolist()
        kept_s = limits.counts_kept_s(tier)
        whose, numbers = series.tolist(), number.tolist()
        for start, end in runs(series, number):
            bucket, one = Bucket(tier.letter, numbers[start]), whose[start]
            expires = due(counts(bucket, columns.texts[one]), kept_s)
            yield (str(bucket), *columns.settled[one], expires, added[3 * start : 3 * end])


_FIELDS = [field(slot, emotion) for slot in range(HOUR // MINUTE) for emotion in LABELS]
"""The fields of the slots of an hour, which has most of them."""


def _tables(events: Iterable[Event]) -> dict[int, TermTable]:
    """Per hour since the epoch: what its posts hold."""
    posts: defaultdict[int, defaultdict[str, list[Sequence[str]]]]
    posts = defaultdict(lambda: defaultdict(list))
    for event in events:
        if event.terms:
            posts[event.cell.minute * MINUTE // HOUR][event.cell.emotion].append(event.terms)
    return {hour: TermTable.of(of_hour) for hour, of_hour in posts.items()}
