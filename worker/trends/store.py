"""Where trends are kept: the contract of every store, and the one algorithm that makes it exact.

A store keeps with the counts of each partition the offset up to which they are counted, and changes both in
one atomic step that compares before it writes. So a record is counted once, whoever reads it how often:

    stored state                 what happened                         what is done
    as the reader believes       -                                     counted, offset advanced
    at the batch's end or after  a lost answer, or another reader      nothing: it is counted already
    inside the batch             another reader counted a part         the rest is counted
    before the batch, or none    the store lost data or was wiped      nothing: OffsetLostError

The counts of a partition belong to a *generation*, a random word that is drawn when counting begins at the
start of the topic and is compared together with the offset. Who wipes a partition only deletes its offset:
the counts of the old generation are no longer looked at, whatever is left of them, and a reader that
still believes in the old one can change nothing.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable
from typing import NamedTuple, Protocol

from worker.errors import DependencyError, MoodstreamError
from worker.trends.counting import Batch
from worker.trends.windows import Trend, Window


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


class StoreUnavailableError(DependencyError):
    """The store cannot be reached, or refuses; what was asked may or may not have happened."""


class TrendStore(Protocol):
    """Counts per minute, emotion and source, of all partitions of one labels topic.

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

    def read(self, window: Window, source: str | None = None) -> Trend:
        """The counts of a window over all partitions, of one source or of all."""
        ...


Attempt = Callable[[Batch, Position | None, Position], Position | None]
"""`attempt(batch, expected, wanted)`: count the batch and set the state to `wanted` where the stored state
equals `expected`; either way answer the state that it leaves behind. Atomic."""


def settle(batch: Batch, expected: Position | None, attempt: Attempt) -> Applied:
    """Count a batch exactly once with a store's atomic `attempt`.

    It ends: every further round means that another reader has advanced within the batch.

    Raises:
        OffsetLostError: the store stands before the batch.
    """
    while True:
        generation = expected.generation if expected is not None else secrets.token_hex(4)
        wanted = Position(generation, batch.end)
        found = attempt(batch, expected, wanted)
        if found == wanted:  # also when an earlier attempt did it and its answer was lost
            return Applied(found, batch)
        if found is None or found.offset < batch.start:
            raise OffsetLostError(batch.partition, expected, found)
        if found.offset >= batch.end:
            return Applied(found, None)
        batch, expected = batch.after(found.offset), found
