"""Trends in Redis 6.2 to 8 or Valkey: one atomic script a batch."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, zip_longest
from typing import NamedTuple

import msgspec
from redis import Redis
from redis.exceptions import ResponseError

from worker.clock import Clock, SystemClock
from worker.trends import keys as names
from worker.trends import legacy
from worker.trends.backfills import prefixes_of
from worker.trends.counting import Batch, aggregate
from worker.trends.delta import Delta, Erased, delta_of
from worker.trends.details import digest_of
from worker.trends.expiry import Expiries, Telling
from worker.trends.keys import Keys
from worker.trends.queries import QueryStore
from worker.trends.redis_connection import connected, reaching, script, text
from worker.trends.redis_reader import RedisTrendReader
from worker.trends.redis_terms import TermPacker
from worker.trends.sample_bounds import SampleBounds
from worker.trends.store import (
    Applied,
    Limits,
    OffsetLostError,
    Outcome,
    Position,
    Prepared,
    StoreUnavailableError,
    drawn_generation,
    outcome_of,
    settle,
)
from worker.trends.windows import DAY, MINUTES

__all__ = ["RedisTrendStore", "connected", "position_of", "reaching"]

_MOST_COUNTED = 40_000
"""Labels and their matches of queries in one call of the script, which others wait for: 10,000 labels with
2.4 matches each take Redis 0.16 s. Halves would take a third more, because less is added up before."""
_INDEX_SPARE_DAYS = 2
"""An index of samples outlives them by this: they may be written a day after it was begun."""

log = logging.getLogger(__name__)


class Computed(NamedTuple):
    """Parts of batches, and what the script is to be told of them."""

    parts: Sequence[Batch]
    delta: Delta
    generation: str
    """The one that it was computed for."""
    telling: Telling


class _OtherGenerationError(Exception):
    """Another reader has begun a generation meanwhile."""


class RedisTrendStore(RedisTrendReader):
    """A `TrendStore` on Redis. Retries are safe everywhere: `apply` compares before it writes."""

    def __init__(
        self,
        client: Redis,
        keys: Keys,
        limits: Limits = Limits(),  # noqa: B008 - frozen
        clock: Clock | None = None,
        queries: QueryStore | None = None,
    ) -> None:
        super().__init__(client, keys, clock, queries)
        self._limits = limits
        self._clock = clock or SystemClock()
        self._script = script(client, "apply")
        self._packer = TermPacker(client, limits, self._clock)
        self._expiries = Expiries(self._clock)
        self._bounds = SampleBounds(self._clock)
        self._backfills: list[str] = []
        """What the keys of each backfill begin with, as of the last time that it was asked for."""
        self._generation = ""
        self._eviction_checked = False

    def open(self, partitions: Iterable[int]) -> dict[int, Position | None]:
        numbers = sorted(partitions)
        with reaching():
            self._check_eviction()
            if not numbers:
                self._client.ping()
                return {}
            found = self._positions(numbers)
            unknown = [number for number, position in found.items() if position is None]
            if unknown and self._take_over(unknown):
                found = self._positions(numbers)
            return found

    def apply(self, batch: Batch, expected: Position | None) -> Applied:
        [outcome] = self.prepare([batch]).apply([expected])
        if isinstance(outcome, OffsetLostError):
            raise outcome
        return outcome

    def prepare(self, batches: Sequence[Batch]) -> Prepared:
        return _Prepared(self, batches)

    def compute(self, parts: Sequence[Batch]) -> Computed:
        """What the script is to be told of parts of different partitions. By any thread."""
        telling = self._expiries.telling()
        generation = self._generation
        delta = delta_of(parts, self._limits, self._keys.labels, due=telling.due, bound=self._bounds.bound)
        return Computed(parts, delta, generation, telling)

    def count(self, computed: Computed, expected: Sequence[Position | None]) -> Sequence[Outcome]:
        """All together, or, where they do not stand where they are believed to, each as far as is left of it.

        Raises:
            StoreUnavailableError: it may or may not have happened.
        """
        with reaching():
            together = self._together(computed, expected)
            if together is not None:
                return together
            pairs = zip(computed.parts, expected, strict=True)
            return [outcome_of(self._settle, batch, position) for batch, position in pairs]

    def _together(self, computed: Computed, expected: Sequence[Position | None]) -> Sequence[Outcome] | None:
        """`None` where that cannot be; then nothing was counted."""
        generations = {one.generation for one in expected if one is not None}
        if None in expected:
            generations.add(self._draw())
        if len(generations) > 1:
            return None
        generation = generations.pop()
        wanted = [Position(generation, part.end) for part in computed.parts]
        try:
            found = self._attempt(computed, expected, wanted)
        except _OtherGenerationError:
            return None
        if found != wanted:
            return None
        return [Applied(position, part) for position, part in zip(wanted, computed.parts, strict=True)]

    def _settle(self, batch: Batch, expected: Position | None) -> Applied:
        def attempt(batch: Batch, expected: Position | None, wanted: Position) -> Position | None:
            return self._attempt(self.compute([batch]), [expected], [wanted])[0]

        while True:
            try:
                return settle(batch, expected, attempt, self._draw)
            except _OtherGenerationError:
                continue

    def _draw(self) -> str:
        """The generation that is being counted, else a new one."""
        current = self._client.hget(self._keys.state, "generation")
        return drawn_generation() if current is None else text(current)

    def _attempt(
        self, computed: Computed, expected: Sequence[Position | None], wanted: Sequence[Position]
    ) -> list[Position | None]:
        """Count all parts, or none; answers where each partition stands then. They want one generation."""
        generation = wanted[0].generation
        if generation != self._generation:
            self._expiries.forget()
            self._bounds.forget()
            self._generation = generation  # last: `compute` goes by it, meanwhile
        if generation != computed.generation:  # other keys, of which nothing is known
            computed = self.compute(computed.parts)
        delta, prefix = computed.delta, self._keys.prefix(generation)
        today = int(self._clock.time() // DAY)
        states: list[str | int] = []
        for part, before, after in zip(computed.parts, expected, wanted, strict=True):
            states += (part.partition, "" if before is None else str(before), str(after))
        counted, *answers = self._script(
            keys=[self._keys.state],
            args=[
                generation,
                prefix,
                delta.blob,
                msgspec.msgpack.encode(self._erased(computed.parts, prefix, today)),
                names.sample_index(today),
                names.sample_index(today - 1),
                self._index_kept_s,
                len(computed.parts),
                *states,
                *delta.terms,
            ],
        )
        if not counted:
            # Where they are wanted, too: after an attempt that was made before, whose answer was lost.
            return [position_of(state) for state in answers]
        if counted < 0:
            raise _OtherGenerationError
        self._expiries.told(computed.telling)
        self._packer.pack_where_due(prefix, dict(zip(delta.hours, answers, strict=False)))
        self._bounds.learn(delta.sampled, answers[len(delta.hours) :])
        return list(wanted)

    @property
    def _index_kept_s(self) -> int:
        return self._limits.details_kept_s(MINUTES) + _INDEX_SPARE_DAYS * DAY

    def _erased(self, batches: Sequence[Batch], prefix: str, today: int) -> list[Erased]:
        """The samples of the keys that batches delete, also those that backfills have drawn."""
        deletions = chain.from_iterable(batch.deletions for batch in batches)
        digests = list({digest_of(deletion.key) for deletion in deletions if deletion.key})
        if not digests:
            return []
        # One more than now, for a writer whose clock is ahead.
        days = range(today - self._index_kept_s // DAY - 1, today + 2)
        while True:  # once, as a rule: the backfills are asked for and looked into in one round trip
            looked_in = self._backfills
            listed = [(base, names.sample_index(day)) for base in (prefix, *looked_in) for day in days]
            with self._client.pipeline(transaction=False) as pipeline:
                pipeline.hvals(self._keys.backfills)
                for base, index in listed:
                    pipeline.hmget(base + index, digests)
                registered, *answers = pipeline.execute()
            if not self._keys.backfill:
                self._backfills = prefixes_of(self._keys, registered)
            if self._backfills == looked_in:
                break
        return [
            Erased(base, index, digest, places.decode())
            for (base, index), answer in zip(listed, answers, strict=True)
            for digest, places in zip(digests, answer, strict=True)
            if places is not None
        ]

    def _positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        answers = self._client.hmget(self._keys.state, [str(number) for number in partitions])
        return {number: position_of(stored) for number, stored in zip(partitions, answers, strict=True)}

    def _take_over(self, partitions: Sequence[int]) -> bool:
        """Go on where the earlier layout stood; false where it counted none of these partitions."""
        if self._keys.backfill:  # it knew none
            return False
        old = {
            number: position
            for number, stored in legacy.take_over(self._client, self._keys, partitions).items()
            if (position := position_of(stored)) is not None
        }
        if not old:
            return False
        legacy.remember(self._client, self._keys, {number: old[number].generation for number in old})
        for number, position in old.items():
            self._adopt(number, position.offset)
            log.info(
                "%s/%d: counted by an earlier release up to %d: going on from there",
                self._keys.topic, number, position.offset,
            )  # fmt: skip
        return True

    def _adopt(self, partition: int, offset: int) -> None:
        """Count an empty batch that ends where the old counts do."""
        generation = self._draw()
        self._client.hsetnx(self._keys.state, "generation", generation)
        generation = self._draw()
        self._client.hsetnx(self._keys.state, str(partition), str(Position(generation, offset)))

    def _check_eviction(self) -> None:
        """Say once where Redis may throw counts away to make room: exact it is then not."""
        if self._eviction_checked:
            return
        try:
            memory = self._client.info("memory")
        except ResponseError:  # this user may not ask
            memory = {}
        self._eviction_checked = True
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory") and policy != "noeviction":
            log.warning(
                "redis: maxmemory-policy is %s, so counts may be evicted; set it to noeviction", policy
            )


class _Prepared:
    """Batches in parts, so that no call of the script is too long."""

    def __init__(self, store: RedisTrendStore, batches: Sequence[Batch]) -> None:
        self._store = store
        self._batches = batches
        self._computed = [store.compute(parts) for parts in _rounds(batches)]

    def apply(self, expected: Sequence[Position | None]) -> list[Outcome]:
        courses = {
            batch.partition: _Course(batch, position)
            for batch, position in zip(self._batches, expected, strict=True)
        }
        for computed in self._computed:
            asked = [courses[part.partition] for part in computed.parts]
            left = [course.rest(part) for course, part in zip(asked, computed.parts, strict=True)]
            parts = [part for part in left if part is not None]
            if parts != computed.parts:  # another reader was ahead, or has lost what we count on
                computed = self._store.compute(parts)  # noqa: PLW2901
            if parts:
                going = [course for course, part in zip(asked, left, strict=True) if part is not None]
                outcomes = self._store.count(computed, [course.position for course in going])
                for course, outcome in zip(going, outcomes, strict=True):
                    course.take(outcome)
        return [course.outcome for course in courses.values()]


@dataclass
class _Course:
    """How far one of several batches is."""

    batch: Batch
    position: Position | None
    """Where its partition stands."""
    counted: list[Batch] = field(default_factory=list)
    """The parts that were counted."""
    lost: OffsetLostError | None = None
    begun: bool = False

    def rest(self, part: Batch) -> Batch | None:
        """What of a part is to be counted: another reader may be ahead."""
        if self.lost is not None:
            return None
        if not self.begun or self.position is None or self.position.offset <= part.start:
            return part
        return part.after(self.position.offset) if self.position.offset < part.end else None

    def take(self, outcome: Outcome) -> None:
        """Go on behind a part."""
        self.begun = True
        if isinstance(outcome, OffsetLostError):
            self.lost = outcome
            return
        self.position = outcome.position
        if outcome.batch is not None:
            self.counted.append(outcome.batch)

    @property
    def outcome(self) -> Outcome:
        """When all parts are through."""
        if self.lost is not None:
            return self.lost
        assert self.position is not None  # noqa: S101 - there is always a part
        return Applied(self.position, _joined(self.batch, self.counted))


def _rounds(batches: Sequence[Batch]) -> Iterator[list[Batch]]:
    """The batches, all cut into as many parts, so that those of a round hold `_MOST_COUNTED` together."""
    sizes = [batch.size for batch in batches]
    rounds = -(-sum(sizes) // _MOST_COUNTED) or 1
    cut = [batch.parts(-(-size // rounds)) for batch, size in zip(batches, sizes, strict=True)]
    for of_round in zip_longest(*cut):
        yield [part for part in of_round if part is not None]


def position_of(stored: bytes | str | None) -> Position | None:
    """The position that a field of the state holds; `None` where there is none.

    Raises:
        StoreUnavailableError: it holds something else.
    """
    if not stored:
        return None
    try:
        return Position.parse(text(stored))
    except ValueError:
        raise StoreUnavailableError(
            "redis", f"{text(stored)[:64]!r} is not an offset of ours: is the namespace somebody else's?"
        ) from None


def _joined(batch: Batch, counted: Sequence[Batch]) -> Batch | None:
    """The parts of a batch that were counted, as one."""
    if not counted:
        return None
    if len(counted) == 1:
        return counted[0]
    events = [event for part in counted for event in part.events]
    return aggregate(
        batch.partition,
        counted[0].start,
        counted[-1].end,
        events,
        deletions=[deletion for part in counted for deletion in part.deletions],
        outside=[outside for part in counted for outside in part.outside],
    )
