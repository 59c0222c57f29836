"""Trends in Redis 6.2 to 8 or Valkey: one atomic script a batch."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from functools import partial

from redis import Redis
from redis.exceptions import ResponseError

from worker.clock import Clock, SystemClock
from worker.trends import keys as names
from worker.trends import legacy
from worker.trends.backfills import prefixes_of
from worker.trends.counting import Batch, aggregate
from worker.trends.delta import Erased, delta_of
from worker.trends.details import digest_of
from worker.trends.expiry import Expiries
from worker.trends.keys import Keys
from worker.trends.queries import QueryStore
from worker.trends.redis_connection import connected, reaching, script, text
from worker.trends.redis_reader import RedisTrendReader
from worker.trends.redis_terms import TermPacker
from worker.trends.sample_bounds import SampleBounds
from worker.trends.store import (
    Applied,
    Limits,
    Position,
    StoreUnavailableError,
    do_nothing,
    drawn_generation,
    settle,
)
from worker.trends.windows import DAY, MINUTES

__all__ = ["RedisTrendStore", "connected", "position_of", "reaching"]

_MOST_COUNTED = 8000
"""Labels and their matches of queries in one call of the script, so that others do not wait too long for
Redis: 5,000 labels without queries take it 20 ms, 2,300 with 2.5 matches each 70 ms."""
_INDEX_SPARE_DAYS = 2
"""An index of samples outlives them by this: they may be written a day after it was begun."""

log = logging.getLogger(__name__)


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

    def apply(
        self, batch: Batch, expected: Position | None, on_sending: Callable[[], object] = do_nothing
    ) -> Applied:
        position = expected
        counted: list[Batch] = []
        with reaching():
            for number, part in enumerate(batch.parts(_MOST_COUNTED)):
                if number and position is not None and position.offset > part.start:
                    if position.offset >= part.end:
                        continue  # another reader was ahead
                    part = part.after(position.offset)  # noqa: PLW2901
                applied = self._settle(part, position, on_sending)
                position = applied.position
                if applied.batch is not None:
                    counted.append(applied.batch)
        assert position is not None  # noqa: S101 - there is always a part
        return Applied(position, _joined(batch, counted))

    def _settle(self, batch: Batch, expected: Position | None, on_sending: Callable[[], object]) -> Applied:
        while True:
            try:
                return settle(batch, expected, partial(self._attempt, on_sending), self._draw)
            except _OtherGenerationError:
                continue

    def _draw(self) -> str:
        """The generation that is being counted, else a new one."""
        current = self._client.hget(self._keys.state, "generation")
        return drawn_generation() if current is None else text(current)

    def _attempt(
        self, on_sending: Callable[[], object], batch: Batch, expected: Position | None, wanted: Position
    ) -> Position | None:
        if wanted.generation != self._generation:
            self._generation = wanted.generation
            self._expiries.forget()
            self._bounds.forget()
        prefix = self._keys.prefix(wanted.generation)
        today = int(self._clock.time() // DAY)
        delta = delta_of(
            batch,
            self._limits,
            self._keys.labels,
            self._erased(batch, prefix, today),
            due=self._expiries.due,
            bound=self._bounds.bound,
        )
        on_sending()
        try:
            state, *answers = self._script(
                keys=[self._keys.state],
                args=[
                    batch.partition,
                    "" if expected is None else str(expected),
                    str(wanted),
                    wanted.generation,
                    prefix,
                    delta.blob,
                    names.sample_index(today),
                    names.sample_index(today - 1),
                    self._index_kept_s,
                    *delta.terms,
                ],
            )
        except Exception:
            self._expiries.not_told()
            raise
        if state.startswith(b"!"):
            self._expiries.not_told()
            raise _OtherGenerationError
        found = position_of(state)
        if found == wanted:
            self._expiries.told()
            # Nothing comes back of an attempt that was made before, whose answer was lost.
            self._packer.pack_where_due(prefix, dict(zip(delta.hours, answers, strict=False)))
            self._bounds.learn(delta.sampled, answers[len(delta.hours) :])
        else:
            self._expiries.not_told()
        return found

    @property
    def _index_kept_s(self) -> int:
        return self._limits.details_kept_s(MINUTES) + _INDEX_SPARE_DAYS * DAY

    def _erased(self, batch: Batch, prefix: str, today: int) -> list[Erased]:
        """The samples of the keys that a batch deletes, also those that backfills have drawn."""
        digests = list({digest_of(deletion.key) for deletion in batch.deletions if deletion.key})
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
