"""Reading trends from Redis: pipelines of small hashes, put together here."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice, product
from typing import Any, Literal

import msgspec
from redis import Redis

from worker.clock import Clock, SystemClock
from worker.slices import Slice
from worker.trends import keys as names
from worker.trends import legacy
from worker.trends.keys import ALL_LABELS, Keys, Series
from worker.trends.places import Places
from worker.trends.queries import QueryStore
from worker.trends.redis_connection import reaching, text
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.redis_terms import read_terms
from worker.trends.sampling import drawn, in_turn
from worker.trends.shapes import Spread, buckets_of, spreads_of
from worker.trends.store import ALL, Filter, Sample, StoreUnavailableError, TrendReader
from worker.trends.terms import Term, TermKind, ranked
from worker.trends.windows import MINUTES, Bucket, Slot, Trend, Window
from worker.types import LABELS, LabelName

_READ_AT_ONCE = 250
"""Buckets asked for in one round trip: some MB of answers at most."""
_HOURS_AT_ONCE = 24
_DIGEST = 16

_sample = msgspec.json.Decoder(Sample)


class RedisTrendReader:
    """A `TrendReader` on Redis: what is counted under its keys, and nothing that is swapped in."""

    def __init__(
        self, client: Redis, keys: Keys, clock: Clock | None = None, queries: QueryStore | None = None
    ) -> None:
        self._client = client
        self._keys = keys
        self._queries = queries or RedisQueryStore(client, keys, clock or SystemClock())

    def read(self, window: Window, narrowed: Filter = ALL) -> Trend:
        trend = Trend.empty(window)
        series = self._series(narrowed)
        with reaching():
            places = self._places()
            self._add_all(trend, places, series)
            if series.letter in "as":
                legacy.add_old(self._client, self._keys, trend, narrowed.source, places.is_live)
        return trend

    def authors(self, window: Window, narrowed: Filter = ALL) -> Mapping[str, int]:
        series = {"all": [self._series(narrowed)]}
        if narrowed == ALL:
            series = {emotion: [Series("e", emotion)] for emotion in LABELS}
            series["all"] = [Series("e", emotion) for emotion in LABELS]
        with reaching():
            buckets = _placed(self._places(), window.detail_buckets())
            if not buckets:
                return dict.fromkeys(series, 0)
            with self._client.pipeline(transaction=False) as pipeline:
                for some in series.values():
                    pipeline.pfcount(
                        *(place + names.authors(bucket, one) for place, bucket in buckets for one in some)
                    )
                return dict(zip(series, pipeline.execute(), strict=True))

    def terms(self, window: Window, emotion: LabelName, kind: TermKind, limit: int = 10) -> list[Term]:
        with reaching():
            table = read_terms(self._client, _placed(self._places(), window.detail_buckets()))
        of = table.narrowed(emotion)
        return ranked(of, table.background(of.counts), kind, limit)

    def samples(
        self, window: Window, emotion: LabelName | None = None, narrowed: Filter = ALL, limit: int = 50
    ) -> list[Sample]:
        series = [Series("e", each) for each in ([emotion] if emotion is not None else LABELS)]
        if narrowed.query is not None:
            series = [self._series(narrowed)]
        found: list[Sample] = []
        with reaching():
            newest_first = (Bucket(MINUTES.letter, hour) for hour in reversed(window.hours))
            hours = iter(_placed(self._places(), newest_first))
            while len(found) < limit and (some := tuple(islice(hours, _HOURS_AT_ONCE))):
                with self._client.pipeline(transaction=False) as pipeline:
                    for place, hour in some:
                        for one in series:
                            pipeline.zrange(f"{place}{names.samples(hour.number, one)}", 0, -1)
                    answers = pipeline.execute()
                drawn_here = _samples(answers)
                found += [one for one in drawn_here if _is_asked_for(one, window, emotion, narrowed)]
        return drawn(found, limit)

    def review(self, window: Window, of: Slice, kept: int, limit: int = 50) -> list[Sample]:
        found: list[Sample] = []
        full: list[int] = []
        with reaching():
            prefix = self._prefix()
            hours = iter(window.hours if prefix is not None else ())
            while some := tuple(islice(hours, _HOURS_AT_ONCE)):
                with self._client.pipeline(transaction=False) as pipeline:
                    for hour in some:
                        key = f"{prefix}{names.samples(hour, Series('r', of))}"
                        pipeline.zrange(key, 0, -1, withscores=True)
                    answers = pipeline.execute()
                full += [int(answer[-1][1]) for answer in answers if len(answer) >= max(kept, 1)]
                drawn_here = _samples([member for member, _ in answer] for answer in answers)
                found += [one for one in drawn_here if _is_asked_for(one, window, None, ALL)]
        return in_turn(found, full, limit)

    def voice(self, window: Window) -> Mapping[str, int]:
        queries = self._queries.list()
        found = {query.name: 0 for query in queries}
        slots: dict[bytes, Slot] = {}
        with reaching():
            places = self._places()
            hashes = product(queries, _held(places, window.buckets()))
            while some := tuple(islice(hashes, _READ_AT_ONCE)):
                with self._client.pipeline(transaction=False) as pipeline:
                    for query, (place, bucket) in some:
                        pipeline.hgetall(f"{place}{names.counts(bucket, Series('q', query.id))}")
                    answers = pipeline.execute()
                for (query, (place, bucket)), counts in zip(some, answers, strict=True):
                    numbers = places.of_it(place, bucket, _numbers(counts, slots))
                    found[query.name] += window.total(bucket, numbers)
        return found

    def names(self, kind: Literal["source", "lang"]) -> list[str]:
        with reaching():
            found: set[str] = set()
            for place in self._places().every:
                key = place + (names.SOURCES if kind == "source" else names.LANGS)
                found.update(text(name) for name in self._client.smembers(key))
            if kind == "source":
                found |= legacy.sources(self._client, self._keys)
        return sorted(found)

    def spreads(self, window: Window) -> Mapping[str, Spread]:
        buckets = buckets_of(window)
        with reaching():
            prefix = self._prefix()
            if prefix is None:
                return {}
            # Thousands of fields each: one at a time, so that others get their turn.
            answers = [_fields(self._client.hgetall(prefix + names.shapes(bucket))) for bucket in buckets]
        return spreads_of(window, zip(buckets, answers, strict=True))

    def late(self) -> Mapping[Literal["late", "early"], int]:
        with reaching():
            prefix = self._prefix()
            found = {} if prefix is None else self._client.hgetall(prefix + names.OUTSIDE)
        return {"late": int(found.get(b"late", 0)), "early": int(found.get(b"early", 0))}

    def steady(self) -> TrendReader:
        return self

    def _places(self) -> Places:
        """Where counts are, as of now; asked once for each answer."""
        return Places(self._prefix())

    def _prefix(self) -> str | None:
        """What the keys of the generation of now begin with; `None` where nothing is counted."""
        generation = self._client.hget(self._keys.state, "generation")
        return None if generation is None else self._keys.prefix(text(generation))

    def _series(self, narrowed: Filter) -> Series:
        if narrowed.source is not None:
            return Series("s", narrowed.source)
        if narrowed.lang is not None:
            return Series("l", narrowed.lang)
        if narrowed.query is not None:
            return Series("q", self._queries.find(narrowed.query).id)
        return ALL_LABELS

    def _add_all(self, trend: Trend, places: Places, series: Series) -> None:
        """Add every hash of the window, some hundred at a time, so that memory stays bounded."""
        slots: dict[bytes, Slot] = {}  # the same few hundred fields come again in every hash
        buckets = _held(places, trend.window.buckets())
        while some := tuple(islice(buckets, _READ_AT_ONCE)):
            with self._client.pipeline(transaction=False) as pipeline:
                for place, bucket in some:
                    pipeline.hgetall(place + names.counts(bucket, series))
                    pipeline.hgetall(place + names.scores(bucket, series))
                answers = pipeline.execute()
            for (place, bucket), counts, scores in zip(some, answers[::2], answers[1::2], strict=True):
                trend.add(bucket, places.of_it(place, bucket, _numbers(counts, slots)))
                trend.add_scores(bucket, places.of_it(place, bucket, _numbers(scores, slots)))


def _held(places: Places, buckets: Iterable[Bucket]) -> Iterator[tuple[str, Bucket]]:
    """Every hash of these buckets: where it is, and the bucket."""
    return ((place, bucket) for bucket in buckets for place in places.holding(bucket))


def _placed(places: Places, buckets: Iterable[Bucket]) -> list[tuple[str, Bucket]]:
    """Buckets within a day, each with the place that answers for it; without those that none does."""
    found = ((places.of(bucket), bucket) for bucket in buckets)
    return [(place, bucket) for place, bucket in found if place is not None]


def _fields(answer: Mapping[Any, Any]) -> Mapping[bytes, bytes]:
    return answer


def _numbers(answer: Mapping[bytes, bytes], known: dict[bytes, Slot]) -> Iterator[tuple[Slot, int]]:
    for name, n in answer.items():
        slot = known.get(name)
        if slot is None:
            number, emotion = name.decode().split("|")
            slot = known[name] = Slot(int(number), emotion)
        yield slot, int(n)


def _samples(answers: Iterable[Iterable[bytes]]) -> Iterator[Sample]:
    for members in answers:
        for member in members:
            if len(member) > _DIGEST:
                try:
                    yield _sample.decode(member[_DIGEST:])
                except msgspec.MsgspecError as error:
                    raise StoreUnavailableError("redis", f"a sample is not ours: {error}") from error


def _is_asked_for(sample: Sample, window: Window, emotion: str | None, narrowed: Filter) -> bool:
    return (
        window.start <= sample.created_at.timestamp() < window.end
        and emotion in (None, sample.label)
        and narrowed.source in (None, sample.source)
        and narrowed.lang in (None, sample.lang)
    )
