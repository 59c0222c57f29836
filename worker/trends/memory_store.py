"""Trends in memory: every label is kept and counted when asked for. For tests, and as their yardstick."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

from worker.clock import Clock
from worker.slices import Slice
from worker.trends.counting import OTHER, Batch, Event
from worker.trends.details import sample_of
from worker.trends.queries import MemoryQueryStore, QueryStore
from worker.trends.sampling import drawn, in_turn, rank_of
from worker.trends.shapes import FINE_KEPT_S, STEP, Spread, arranged, buckets_of, observed
from worker.trends.store import (
    ALL,
    Applied,
    Filter,
    Limits,
    Outcome,
    Position,
    Prepared,
    Sample,
    outcome_of,
    settle,
)
from worker.trends.terms import Term, TermCounts, TermKind, ranked
from worker.trends.windows import HOUR, MINUTE, TIERS, Bucket, Trend, Window
from worker.types import LABELS, LabelName

_Side = Literal["late", "early"]


class _Fact(NamedTuple):
    """A label, where it came from, and under which names it counts."""

    event: Event
    partition: int
    source: str
    lang: str | None

    @property
    def seconds(self) -> int:
        return self.event.cell.minute * MINUTE

    def counts_as(self, narrowed: Filter, query_id: str | None) -> bool:
        return (
            narrowed.source in (None, self.source)
            and narrowed.lang in (None, self.lang)
            and (query_id is None or query_id in self.event.queries)
        )


_Ranked = list[tuple[int, _Fact]]
"""The posts of an hour and group that are kept, by rank."""


@dataclass
class _Partition:
    """The facts of one generation of one partition."""

    position: Position
    hours: dict[int, list[_Fact]] = field(default_factory=dict)
    deleted: dict[bytes, int] = field(default_factory=dict)
    """Per key the offset of its last tombstone."""
    outside: Counter[_Side] = field(default_factory=Counter)


class _Prepared:
    """One batch after the other, as they are."""

    def __init__(self, store: MemoryTrendStore, batches: Sequence[Batch]) -> None:
        self._store = store
        self._batches = batches

    def apply(self, expected: Sequence[Position | None]) -> list[Outcome]:
        pairs = zip(self._batches, expected, strict=True)
        return [outcome_of(self._store.apply, batch, position) for batch, position in pairs]


class MemoryTrendStore:
    """A `TrendStore` that lives as long as its process, and grows with every label."""

    def __init__(
        self,
        clock: Clock,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        queries: QueryStore | None = None,
        topic: str = "emotion-labels",
    ) -> None:
        self._clock = clock
        self._limits = limits
        self._queries = queries or MemoryQueryStore(clock)
        self._topic = topic
        self._lock = threading.Lock()
        self.wipe()

    def wipe(self) -> None:
        """Forget everything."""
        with self._lock:
            self._partitions: dict[int, _Partition] = {}
            self._named: dict[str, set[str]] = {"source": set(), "lang": set()}
            self._kept_until: dict[tuple[str, Bucket], float] = {}
            """Monotonic seconds, of counts and details of each bucket."""

    def open(self, partitions: Iterable[int]) -> dict[int, Position | None]:
        with self._lock:
            return {number: self._position(number) for number in partitions}

    def apply(self, batch: Batch, expected: Position | None) -> Applied:
        with self._lock:
            return settle(batch, expected, self._attempt)

    def prepare(self, batches: Sequence[Batch]) -> Prepared:
        return _Prepared(self, batches)

    def read(self, window: Window, narrowed: Filter = ALL) -> Trend:
        query_id = self._id_of(narrowed)
        trend = Trend.empty(window)
        with self._lock:
            for fact in self._facts("counts", window.buckets()):
                since_start = fact.seconds - window.start
                if 0 <= since_start < window.end - window.start and fact.counts_as(narrowed, query_id):
                    emotion = fact.event.cell.emotion
                    trend.counts[emotion][since_start // window.step] += 1
                    trend.score_sums[emotion][since_start // window.step] += fact.event.score
        return trend

    def authors(self, window: Window, narrowed: Filter = ALL) -> Mapping[str, int]:
        query_id = self._id_of(narrowed)
        found: dict[str, set[str]] = {"all": set()}
        if narrowed == ALL:
            found |= {emotion: set() for emotion in LABELS}
        with self._lock:
            for fact in self._facts("details", window.detail_buckets()):
                if fact.event.author is not None and fact.counts_as(narrowed, query_id):
                    found["all"].add(fact.event.author)
                    if narrowed == ALL:
                        found[fact.event.cell.emotion].add(fact.event.author)
        return {name: len(authors) for name, authors in found.items()}

    def terms(self, window: Window, emotion: LabelName, kind: TermKind, limit: int = 10) -> list[Term]:
        counts: Counter[str] = Counter()
        background: Counter[str] = Counter()
        posts = background_posts = 0
        with self._lock:
            for fact in self._facts("details", window.detail_buckets()):
                background.update(fact.event.terms)
                background_posts += bool(fact.event.terms)
                if fact.event.cell.emotion == emotion:
                    counts.update(fact.event.terms)
                    posts += bool(fact.event.terms)
        return ranked(TermCounts(counts, posts), TermCounts(background, background_posts), kind, limit)

    def samples(
        self, window: Window, emotion: LabelName | None = None, narrowed: Filter = ALL, limit: int = 50
    ) -> list[Sample]:
        query_id = self._id_of(narrowed)
        most = self._limits.samples if query_id is None else self._limits.query_samples

        def group(event: Event) -> str | None:
            return (query_id or event.cell.emotion) if query_id in (None, *event.queries) else None

        with self._lock:
            groups = self._kept(window, group, most)
            return drawn(self._shown(groups, window, emotion, narrowed), limit)

    def review(self, window: Window, of: Slice, kept: int, limit: int = 50) -> list[Sample]:
        with self._lock:
            hours = self._kept(window, lambda event: of if of in event.slices else None, self._limits.samples)
            full = [hour[-1][0] for hour in hours if len(hour) >= max(kept, 1)]
            return in_turn(self._shown(hours, window), full, limit)

    def voice(self, window: Window) -> Mapping[str, int]:
        names = [query.name for query in self._queries.list()]
        return {name: self.read(window, Filter(query=name)).n for name in names}

    def names(self, kind: Literal["source", "lang"]) -> list[str]:
        with self._lock:
            return sorted(self._named[kind])

    def spreads(self, window: Window) -> Mapping[str, Spread]:
        rows: dict[str, list[tuple[int, int, int, int]]] = {}
        with self._lock:
            facts = [fact.event for fact in self._facts("shapes", buckets_of(window))]
        for spot, n in observed(facts).items():
            step = (spot.slot * STEP - window.start) // window.step
            if 0 <= step < window.steps:
                rows.setdefault(spot.model, []).append((step, spot.label, spot.column, n))
        return arranged(window.steps, rows)

    def late(self) -> Mapping[_Side, int]:
        total: Counter[_Side] = Counter({"late": 0, "early": 0})
        with self._lock:
            for partition in self._partitions.values():
                total.update(partition.outside)
        return dict(total)

    def steady(self) -> MemoryTrendStore:
        return self

    def _id_of(self, narrowed: Filter) -> str | None:
        return None if narrowed.query is None else self._queries.find(narrowed.query).id

    def _kept(self, window: Window, group_of: Callable[[Event], str | None], most: int) -> list[_Ranked]:
        """Of each hour and group (`None`: of none) the `most` with the smallest ranks."""
        groups: dict[tuple[int, str], dict[int, _Fact]] = {}
        for fact in self._facts("details", (Bucket("h", hour) for hour in window.hours)):
            if fact.event.label is not None and (name := group_of(fact.event)) is not None:
                group = groups.setdefault((fact.seconds // HOUR, name), {})
                group.setdefault(rank_of(fact.event.label.input), fact)
        return [sorted(group.items())[:most] for group in groups.values()]

    def _shown(
        self, groups: Iterable[_Ranked], window: Window, emotion: str | None = None, narrowed: Filter = ALL
    ) -> list[Sample]:
        found = (self._sample(fact, window, emotion, narrowed) for group in groups for _, fact in group)
        return [sample for sample in found if sample is not None]

    def _facts(self, what: str, buckets: Iterable[Bucket]) -> Iterator[_Fact]:
        """What lies in these buckets and has not expired."""
        now = self._clock.monotonic()
        for bucket in buckets:
            if self._kept_until.get((what, bucket), now) > now:
                span = TIERS[bucket.letter].span_s // HOUR
                for partition in self._partitions.values():
                    for hour in range(bucket.number * span, (bucket.number + 1) * span):
                        yield from partition.hours.get(hour, ())

    def _sample(self, fact: _Fact, window: Window, emotion: str | None, narrowed: Filter) -> Sample | None:
        """What is shown of a fact, if it is asked for and not deleted."""
        event = fact.event
        deleted_at = self._partitions[fact.partition].deleted.get(event.key or b"", -1)
        sample = sample_of(
            event, f"{self._topic}/{fact.partition}/{event.offset}", text=self._limits.store_text
        )
        shown = (
            deleted_at < event.offset
            and emotion in (None, event.cell.emotion)
            and window.start <= fact.seconds < window.end
            and narrowed.source in (None, sample.source)
            and narrowed.lang in (None, sample.lang)
        )
        return sample if shown else None

    def _position(self, number: int) -> Position | None:
        partition = self._partitions.get(number)
        return None if partition is None else partition.position

    def _attempt(self, batch: Batch, expected: Position | None, wanted: Position) -> Position | None:
        stored = self._position(batch.partition)
        if stored != expected:
            return stored
        partition = self._partitions.setdefault(batch.partition, _Partition(wanted))
        partition.position = wanted
        for event in batch.events:
            self._take(partition, event, batch.partition)
        partition.deleted.update((deletion.key, deletion.offset) for deletion in batch.deletions)
        partition.outside.update(outside.side for outside in batch.outside)
        return wanted

    def _take(self, partition: _Partition, event: Event, number: int) -> None:
        source = _settled(self._named["source"], event.cell.source, self._limits.max_sources)
        lang = event.lang
        if lang is not None:
            lang = _settled(self._named["lang"], lang, self._limits.max_langs)
        fact = _Fact(event, number, source, lang)
        partition.hours.setdefault(fact.seconds // HOUR, []).append(fact)
        now = self._clock.monotonic()
        for tier in TIERS.values():
            bucket = Bucket(tier.letter, fact.seconds // tier.span_s)
            self._kept_until["counts", bucket] = now + self._limits.counts_kept_s(tier)
            if tier.letter in "hd":
                self._kept_until["details", bucket] = now + self._limits.details_kept_s(tier)
                fine = self._limits.shapes_s and tier.letter == "h"
                self._kept_until["shapes", bucket] = now + (FINE_KEPT_S if fine else self._limits.shapes_s)


def _settled(known: set[str], name: str, most: int) -> str:
    """The name itself, or `other` where too many were named before it."""
    if name == OTHER or name in known:
        return name
    if len(known) >= most:
        return OTHER
    known.add(name)
    return name
