"""How counts are laid out over time, and how they are put together again. Pure functions.

Counts are kept three times: per minute in one hash an hour, per hour in one hash a day, per day in one hash
for 28 days. A question reads the coarsest that its steps are whole multiples of: hashes are few and small
then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from worker.types import LABELS

MINUTE, HOUR, DAY = 60, 3600, 86_400

SCORE_UNITS = 1_000_000
"""Scores are summed in millionths, as integers: exact, and the same in any order."""

_DAY_HOURS = DAY // HOUR
MOST_DETAIL_HOURS = 48
"""Authors and terms of longer windows are read by the day."""


class Tier(NamedTuple):
    """One of the three resolutions."""

    letter: str
    span_s: int
    """Seconds that one hash covers."""
    slot_s: int
    """Seconds that one slot of it covers."""


MINUTES = Tier("h", HOUR, MINUTE)
HOURS = Tier("d", DAY, HOUR)
DAYS = Tier("m", 28 * DAY, DAY)
TIERS = {tier.letter: tier for tier in (MINUTES, HOURS, DAYS)}


class Bucket(NamedTuple):
    """A span of time: the letter of a tier, and how many of its spans after the epoch."""

    letter: str
    number: int

    def __str__(self) -> str:
        return f"{self.letter}:{self.number}"


class Slot(NamedTuple):
    """What a number counts: minute of the hour, hour of the day or day of the 28, and emotion."""

    number: int
    emotion: str


@dataclass(frozen=True, slots=True)
class Window:
    """A span of event time in equal steps: `start` and `end` in epoch seconds, multiples of `step`."""

    start: int
    end: int
    step: int

    def __post_init__(self) -> None:
        if self.step <= 0 or self.step % MINUTE or self.start % self.step or self.end % self.step:
            raise ValueError(f"{self}: steps are whole minutes, and start and end whole steps")
        if self.start >= self.end:
            raise ValueError(f"{self}: ends before it starts")

    @classmethod
    def around(cls, start: float, end: float, step: int) -> Window:
        """The smallest window of whole steps that holds all from `start` to `end`."""
        return cls(int(start // step) * step, int(-(-end // step)) * step, step)

    @property
    def steps(self) -> int:
        """How many steps it has."""
        return (self.end - self.start) // self.step

    @property
    def tier(self) -> Tier:
        """The coarsest resolution that its steps are whole multiples of."""
        return next(tier for tier in (DAYS, HOURS, MINUTES) if self.step % tier.slot_s == 0)

    @property
    def hours(self) -> range:
        """Numbers of the whole hours that hold it: samples are kept by the hour."""
        return range(self.start // HOUR, -(-self.end // HOUR))

    def detail_buckets(self) -> list[Bucket]:
        """For authors and terms: the whole days that it holds and the whole hours around them.

        Where it holds many hours only whole days, the first and last of which may reach beyond it.
        """
        if len(self.hours) > MOST_DETAIL_HOURS:
            return [Bucket(HOURS.letter, number) for number in _spans(self, HOURS)]
        first, last = self.hours.start, self.hours.stop
        day, end = -(-first // _DAY_HOURS), last // _DAY_HOURS
        if day >= end:
            return [Bucket(MINUTES.letter, hour) for hour in self.hours]
        return [
            *(Bucket(MINUTES.letter, hour) for hour in range(first, day * _DAY_HOURS)),
            *(Bucket(HOURS.letter, number) for number in range(day, end)),
            *(Bucket(MINUTES.letter, hour) for hour in range(end * _DAY_HOURS, last)),
        ]

    def total(self, bucket: Bucket, numbers: Iterable[tuple[Slot, int]]) -> int:
        """The sum of what one hash holds and lies in the window."""
        tier = TIERS[bucket.letter]
        first = bucket.number * tier.span_s
        return sum(n for slot, n in numbers if self.start <= first + slot.number * tier.slot_s < self.end)

    def buckets(self) -> Iterator[Bucket]:
        """Every hash that may hold a part of it."""
        return (Bucket(self.tier.letter, number) for number in _spans(self, self.tier))


@dataclass(frozen=True, slots=True)
class Trend:
    """Counts of one window, per emotion and step."""

    window: Window
    counts: dict[str, list[int]] = field(default_factory=dict)
    """For each of the seven labels one number a step, zeros included."""
    score_sums: dict[str, list[int]] = field(default_factory=dict)
    """In the same shape the sums of their labels' scores, in millionths."""

    @classmethod
    def empty(cls, window: Window) -> Trend:
        """Nothing counted yet."""
        return cls(window, _zeros(window.steps), _zeros(window.steps))

    @property
    def totals(self) -> dict[str, int]:
        """Counts per emotion over the whole window."""
        return {emotion: sum(counts) for emotion, counts in self.counts.items()}

    @property
    def n(self) -> int:
        """How many labels there are in all."""
        return sum(self.totals.values())

    @property
    def mean_scores(self) -> dict[str, float | None]:
        """Mean confidence per emotion over the whole window; `None` where there is no label."""
        return {
            emotion: sum(self.score_sums[emotion]) / SCORE_UNITS / n if n else None
            for emotion, n in self.totals.items()
        }

    def add(self, bucket: Bucket, counts: Iterable[tuple[Slot, int]]) -> None:
        """Add what one hash of counts holds and lies in the window."""
        self._add(self.counts, bucket, counts)

    def add_scores(self, bucket: Bucket, sums: Iterable[tuple[Slot, int]]) -> None:
        """Add what one hash of sums of scores holds and lies in the window."""
        self._add(self.score_sums, bucket, sums)

    def _add(self, to: dict[str, list[int]], bucket: Bucket, numbers: Iterable[tuple[Slot, int]]) -> None:
        tier, window = TIERS[bucket.letter], self.window
        first = bucket.number * tier.span_s - window.start
        whole = window.end - window.start
        for slot, n in numbers:
            since_start = first + slot.number * tier.slot_s
            if 0 <= since_start < whole:
                to[slot.emotion][since_start // window.step] += n


def _zeros(steps: int) -> dict[str, list[int]]:
    return {emotion: [0] * steps for emotion in LABELS}


def _spans(window: Window, tier: Tier) -> range:
    """Numbers of the tier's spans that may hold a part of the window."""
    return range(window.start // tier.span_s, -(-window.end // tier.span_s))
