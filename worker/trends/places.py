"""Which counts answer for which day: those counted live, or those of a backfill that is swapped in. Pure.

Swaps cover whole days, UTC, because every hash but one kind lies within one day. Those of 28 days hold a slot
a day, so that a part of one may be of the one place and a part of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from worker.trends.windows import DAY, DAYS, TIERS, Bucket, Slot


@dataclass(frozen=True, slots=True)
class Swapped:
    """Counts that answer for some days."""

    prefix: str
    """What their keys begin with."""
    first: int
    """Their first day, in days since the epoch."""
    end: int
    """The day after their last."""


@dataclass(frozen=True, slots=True)
class Places:
    """Where the counts of each day are, as of one moment."""

    live: str | None = None
    """What the keys of all days begin with that are not swapped; None where nothing is counted."""
    swapped: tuple[Swapped, ...] = ()
    """The later ones cover the earlier ones."""

    @property
    def every(self) -> tuple[str, ...]:
        """All of them."""
        given = (self.live, *(one.prefix for one in self.swapped))
        return tuple(prefix for prefix in given if prefix is not None)

    def of_day(self, day: int) -> str | None:
        """Where the counts of a day are; None: nowhere."""
        for one in reversed(self.swapped):
            if one.first <= day < one.end:
                return one.prefix
        return self.live

    def of(self, bucket: Bucket) -> str | None:
        """The same of a bucket that lies within one day."""
        return self.of_day(_first_day(bucket)) if self.swapped else self.live

    def is_live(self, bucket: Bucket) -> bool:
        """Whether a bucket that lies within one day is one that is counted live."""
        return self.of(bucket) == self.live

    def holding(self, bucket: Bucket) -> tuple[str, ...]:
        """Every place that holds a part of a bucket."""
        if not self.swapped or bucket.letter != DAYS.letter:
            place = self.of(bucket)
            return () if place is None else (place,)
        first = _first_day(bucket)
        found = map(self.of_day, range(first, first + DAYS.span_s // DAY))
        return tuple(dict.fromkeys(place for place in found if place is not None))

    def of_it(
        self, place: str, bucket: Bucket, numbers: Iterable[tuple[Slot, int]]
    ) -> Iterable[tuple[Slot, int]]:
        """Of what one place holds of a bucket that part which it answers for."""
        if not self.swapped or bucket.letter != DAYS.letter:
            return numbers
        return self._answered(place, _first_day(bucket), numbers)

    def _answered(
        self, place: str, first: int, numbers: Iterable[tuple[Slot, int]]
    ) -> Iterator[tuple[Slot, int]]:
        for slot, n in numbers:
            if self.of_day(first + slot.number) == place:
                yield slot, n


def _first_day(bucket: Bucket) -> int:
    return bucket.number * TIERS[bucket.letter].span_s // DAY
