"""Where trends are kept: the contract of every store, and the one algorithm that makes it exact.

A store keeps with the counts of each partition the offset up to which they are counted, and changes both in
one atomic step that compares before it writes. So a record is counted once, whoever reads it how often:

    stored state                 what happened                         what is done
    as the reader believes       -                                     counted, offset advanced
    at the batch's end or after  a lost answer, or another reader      nothing: it is counted already
    inside the batch             another reader counted a part         the rest is counted
    before the batch, or none    the store lost data or was wiped      nothing: OffsetLostError

Counts belong to a *generation*, a random word that is drawn when counting begins at the start of the topic
and is compared together with the offset. Who wipes the counts only deletes the offsets: what the old
generation counted is no longer looked at, whatever is left of it, and a reader that still believes in the
old one can change nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

import msgspec

from worker.errors import DependencyError, MoodstreamError
from worker.slices import Slice
from worker.trends.counting import Batch
from worker.trends.terms import Term, TermKind
from worker.trends.windows import DAY, Tier, Trend, Window
from worker.types import LabelName

if TYPE_CHECKING:
    from worker.trends.shapes import Spread

__all__ = [
    "ALL", "Applied", "Attempt", "Filter", "Limits", "OffsetLostError", "Outcome",
    "Position", "Sample", "StoreUnavailableError", "Term", "TermKind", "TrendReader", "TrendStore", "settle",
]  # fmt: skip


class Position(NamedTuple):
    """Up to where a partition is counted."""

    generation: str
    offset: int
    """The next offset to count."""

    def __str__(self) -> str:
        return f"{self.generation}:{self.offset}"

    @classmethod
    def parse(cls, text: str) -> Position:
        """The reverse of `str`. Raises ValueError."""
        generation, _, offset = text.rpartition(":")
        return cls(generation, int(offset))


class Applied(NamedTuple):
    """What became of a batch."""

    position: Position
    """Where the partition stands now; beyond the batch's end where another reader is ahead."""
    batch: Batch | None
    """The part of the batch that was counted; `None` where all of it already was."""


class OffsetLostError(MoodstreamError):
    """The store stands before the batch: go back to what it has; `stored` is `None` for the beginning."""

    def __init__(self, partition: int, expected: Position | None, stored: Position | None) -> None:
        self.partition = partition
        self.expected = expected
        self.stored = stored
        super().__init__(f"partition {partition}: expected {expected}, the store has {stored}")


Outcome = Applied | OffsetLostError
"""What became of it; the error where the store is behind the batch, and nothing was counted."""


class StoreUnavailableError(DependencyError):
    """The store cannot be reached, or refuses; what was asked may or may not have happened."""


class StoreRefusedError(StoreUnavailableError):
    """The store does not want us, or we do not trust it: no waiting mends that."""


_TERMS_OF_A_DAY = 4
"""Hours' worth. With one, half of the rankings of days of 33,000 posts differed from those of all terms; with
four 5% did, and with eight none (simulated, the list of a day packed often)."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What a store keeps, and for how long; the settings of the same names explain them."""

    retention_s: float = 35 * DAY
    """Counts by the minute; as all of these, after a bucket was first written to and has passed."""
    hourly_s: float = 400 * DAY
    daily_s: float = 3660 * DAY
    details_s: float = 7 * DAY
    """Authors, terms and samples by the hour."""
    daily_details_s: float = 92 * DAY
    """Authors and terms by the day."""
    shapes_s: float = 35 * DAY
    """How the labels of each model are spread, by the hour; 0 counts none."""
    max_sources: int = 64
    max_langs: int = 32
    max_terms: int = 10_000
    """Most numbers of posts, per term and emotion, of an hour."""
    samples: int = 20
    """Most sampled posts of each hour and emotion, and of each hour and slice."""
    store_text: bool = False

    def counts_kept_s(self, tier: Tier) -> int:
        """Seconds from the first write to a bucket of counts to its end."""
        kept = {"h": self.retention_s, "d": self.hourly_s, "m": self.daily_s}[tier.letter]
        return int(kept + tier.span_s)

    def details_kept_s(self, tier: Tier) -> int:
        """The same of authors and terms."""
        return int({"h": self.details_s, "d": self.daily_details_s}[tier.letter] + tier.span_s)

    def terms_kept(self, tier: Tier) -> int:
        """Most numbers of terms in one of its buckets."""
        return self.max_terms * {"h": 1, "d": _TERMS_OF_A_DAY}[tier.letter]

    @property
    def query_samples(self) -> int:
        """Most sampled posts of each hour and tracked query."""
        return -(-self.samples // 4)


@dataclass(frozen=True, slots=True)
class Filter:
    """Narrows what is read to one source, one language or one tracked query.

    Counters hold one of the three at a time, because every combination of them would not fit into bounded
    memory.

    Raises:
        ValueError: more than one is given.
    """

    source: str | None = None
    lang: str | None = None
    query: str | None = None
    """Its name."""

    def __post_init__(self) -> None:
        given = [name for name in ("source", "lang", "query") if getattr(self, name) is not None]
        if len(given) > 1:
            raise ValueError(f"{' and '.join(given)} cannot be combined: give one of source, lang and query")


ALL = Filter()
"""Everything."""


class Sample(msgspec.Struct, frozen=True, omit_defaults=True):
    """One post that was drawn to be looked at."""

    id: str | int
    label: LabelName
    score: float
    created_at: datetime
    source: str
    input: str
    """`topic/partition/offset` of the post."""
    label_ref: str
    """The same of its label: what a correction names."""
    lang: str | None = None
    text: str | None = None
    """Only where `trends.store_text` is on."""


class TrendReader(Protocol):
    """What can be asked about the labels of one topic. Every answer covers all partitions.

    Every method raises StoreUnavailableError; those that take a filter raise UnknownQueryError. Threads may
    share it.
    """

    def read(self, window: Window, narrowed: Filter = ALL) -> Trend:
        """Counts and sums of scores, per emotion and step."""
        ...

    def authors(self, window: Window, narrowed: Filter = ALL) -> Mapping[str, int]:
        """How many different authors wrote in the window, widened to whole hours (`detail_buckets`).

        An estimate (HyperLogLog, standard error 0.81%).

        Under `all`, and without a filter also under each emotion's name. Posts that name no author add none.
        """
        ...

    def terms(self, window: Window, emotion: LabelName, kind: TermKind, limit: int = 10) -> list[Term]:
        """What stands out in one emotion in the window, widened as for authors; most first."""
        ...

    def samples(
        self, window: Window, emotion: LabelName | None = None, narrowed: Filter = ALL, limit: int = 50
    ) -> list[Sample]:
        """Some posts of the window, newest first. Which ones is decided by a hash of their place in Kafka."""
        ...

    def review(self, window: Window, of: Slice, kept: int, limit: int = 50) -> list[Sample]:
        """Some posts of a slice, in the order in which they are to be reviewed: that of their ranks.

        However many of them are reviewed, from the first on, it is chance that chose them, and each hour has
        the part of them that it has of the slice. `kept`: how many of an hour are kept (`Limits.samples`).
        """
        ...

    def voice(self, window: Window) -> Mapping[str, int]:
        """How many posts match each tracked query, by its name: what `read` would count, for all at once."""
        ...

    def names(self, kind: Literal["source", "lang"]) -> list[str]:
        """What is counted by name, in alphabetical order."""
        ...

    def spreads(self, window: Window) -> Mapping[str, Spread]:
        """By model, how its labels are spread: (steps, 7, columns) of `worker.distribution`.

        Steps are five minutes (of the last two days) or hours; another one raises ValueError. The models
        with the most labels come first, some of many are left out.
        """
        ...

    def late(self) -> Mapping[Literal["late", "early"], int]:
        """Labels that count in no bucket, because they lie outside the horizon."""
        ...

    def steady(self) -> TrendReader:
        """A reader for several questions that belong together: none sees what is swapped in between them."""
        ...


class Prepared(Protocol):
    """Batches of which all is computed that can be before it is known where their partitions stand."""

    def apply(self, expected: Sequence[Position | None]) -> list[Outcome]:
        """As `TrendStore.apply`, each of them; answers what became of each. It is mostly waiting.

        They are counted in one step where nobody else has counted meanwhile: of posts of the same minutes
        more is added up before the store is asked, whatever partitions they are in.
        """
        ...


class TrendStore(TrendReader, Protocol):
    """Counts of all partitions of one labels topic: what `TrendReader` answers, and the writing of it.

    Every method raises StoreUnavailableError. `apply` belongs to one thread; reading may go on beside it.
    """

    def open(self, partitions: Iterable[int]) -> dict[int, Position | None]:
        """Where each of these partitions stands; `None`: begin at the topic's start.

        Asks the store also where there are no partitions: that it answers is worth knowing.
        """
        ...

    def apply(self, batch: Batch, expected: Position | None) -> Applied:
        """Count a batch exactly once. `expected` is where the reader believes that the partition stands.

        Raises:
            OffsetLostError: the store is behind the batch; nothing was counted.
        """
        ...

    def prepare(self, batches: Sequence[Batch]) -> Prepared:
        """Compute what batches add, each of another partition, while those before them may be under way."""
        ...


Attempt = Callable[[Batch, Position | None, Position], Position | None]
"""`attempt(batch, expected, wanted)`: count the batch and set the state to `wanted` where the stored state
equals `expected`; either way answer the state that it leaves behind. Atomic."""


def drawn_generation() -> str:
    """A name for a new generation."""
    return secrets.token_hex(4)


def settle(
    batch: Batch, expected: Position | None, attempt: Attempt, draw: Callable[[], str] = drawn_generation
) -> Applied:
    """Count a batch exactly once with a store's atomic `attempt`.

    `draw` names the generation that a partition without a position begins in. It ends: every further round
    means that another reader has advanced within the batch.

    Raises:
        OffsetLostError: the store stands before the batch.
    """
    while True:
        generation = expected.generation if expected is not None else draw()
        wanted = Position(generation, batch.end)
        found = attempt(batch, expected, wanted)
        if found == wanted:  # also when an earlier attempt did it and its answer was lost, or a twin did
            return Applied(found, batch)
        if found is None or found.offset < batch.start:
            raise OffsetLostError(batch.partition, expected, found)
        if found.offset >= batch.end:
            return Applied(found, None)
        batch, expected = batch.after(found.offset), found


def outcome_of(
    apply: Callable[[Batch, Position | None], Applied], batch: Batch, expected: Position | None
) -> Outcome:
    """What became of one batch, the error as an answer."""
    try:
        return apply(batch, expected)
    except OffsetLostError as lost:
        return lost
