"""What a feed is, and what it gives."""

from __future__ import annotations

import threading
from collections.abc import Callable, Generator
from typing import NamedTuple, Protocol

from worker.clock import Clock


class Item(NamedTuple):
    """One thing that a feed has given."""

    value: bytes | None
    """What is written to the topic; None: nothing, only the cursor moves on, unless `deletes`."""
    key: bytes | None = None
    """Of the record: items of one key stay in order."""
    cursor: int | None = None
    """Where the feed goes on behind this one, never negative; None where it cannot."""
    at: float | None = None
    """When it was written, in seconds since the epoch, where that is known."""
    readable: bool = True
    """Whether a worker will find a post or a deletion in it; what it does not becomes a dead letter there."""
    deletes: bool = False
    """A null value is written: what has this key was taken back."""

    @property
    def written(self) -> bool:
        """Whether a record comes of it."""
        return self.value is not None or self.deletes


class Around(NamedTuple):
    """What a role gives its feed."""

    clock: Clock
    stop: threading.Event
    told: Callable[[bool, str], None] = lambda up, why: None
    """Whether where it reads from answers, and why not, at each change."""
    counted: Callable[[str], None] = lambda outcome: None
    """Outcomes of what is not written: see `worker.metrics.SOURCE_ITEMS`."""


class Feed(Protocol):
    """Where posts come from."""

    name: str
    """Of its cursor: two feeds of one name into one topic fence each other."""

    def items(self, cursor: int | None) -> Generator[Item | None]:
        """What comes behind `cursor` (None: from the beginning, or from now on), in order.

        Now and then None, where nothing comes for a while, so that what was given can be written.

        Raises:
            ConfigurationError: it cannot be read as asked.
        """
        ...
