"""How counts are laid out over time, and how they are put together again. Pure functions.

Counts are kept twice: per minute in one hash an hour, and per hour in one hash a day. A question whose
step is whole hours reads the second, which is 24 times fewer hashes and about 60 times fewer fields.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from worker.trends.counting import Cell
from worker.types import LABELS

MINUTE, HOUR, DAY = 60, 3600, 86_400


class Tier(NamedTuple):
    """One of the two resolutions."""

    letter: str
    span_s: int
    """Seconds that one hash covers."""
    slot_s: int
    """Seconds that one slot of it covers."""


MINUTES = Tier("h", HOUR, MINUTE)
HOURS = Tier("d", DAY, HOUR)
TIERS = {tier.letter: tier for tier in (MINUTES, HOURS)}


class Bucket(NamedTuple):
    """Which hash: `h` and the hour since the epoch, or `d` and the day since the epoch."""

    letter: str
    number: int


class Slot(NamedTuple):
    """Which field of a hash: minute of the hour or hour of the day, emotion, source."""

    number: int
    emotion: str
    source: str


Layout = dict[Bucket, Counter[Slot]]


def lay_out(counts: Mapping[Cell, int]) -> Layout:
    """Spread counts over the hashes that keep them, in both tiers."""
    layout: Layout = {}
    for cell, n in counts.items():
        seconds = cell.minute * MINUTE
        for tier in (MINUTES, HOURS):
            number, within = divmod(seconds, tier.span_s)
            slots = layout.setdefault(Bucket(tier.letter, number), Counter())
            slots[Slot(within // tier.slot_s, cell.emotion, cell.source)] += n
    return layout


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
        return HOURS if self.step % HOUR == 0 else MINUTES

    def buckets(self) -> Iterator[Bucket]:
        """Every hash that may hold a part of it."""
        tier = self.tier
        for number in range(self.start // tier.span_s, -(-self.end // tier.span_s)):
            yield Bucket(tier.letter, number)


@dataclass(frozen=True, slots=True)
class Trend:
    """Counts of one window, per emotion and step."""

    window: Window
    counts: dict[str, list[int]] = field(default_factory=dict)
    """For each of the seven labels one number a step, zeros included."""

    @classmethod
    def empty(cls, window: Window) -> Trend:
        """Nothing counted yet."""
        return cls(window, {emotion: [0] * window.steps for emotion in LABELS})

    @property
    def totals(self) -> dict[str, int]:
        """Counts per emotion over the whole window."""
        return {emotion: sum(counts) for emotion, counts in self.counts.items()}

    @property
    def n(self) -> int:
        """How many labels there are in all."""
        return sum(self.totals.values())

    def add(self, bucket: Bucket, slots: Iterable[tuple[Slot, int]], source: str | None = None) -> None:
        """Add what one hash holds: what lies in the window and, where one is given, is of this source."""
        tier, window = TIERS[bucket.letter], self.window
        first = bucket.number * tier.span_s - window.start
        whole = window.end - window.start
        for slot, n in slots:
            since_start = first + slot.number * tier.slot_s
            if 0 <= since_start < whole and source in (None, slot.source):
                self.counts[slot.emotion][since_start // window.step] += n
