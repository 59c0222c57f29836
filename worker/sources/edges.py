"""What a feed is, and what it gives."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Item(NamedTuple):
    """One thing that a feed has given."""

    value: bytes | None
    """What is written to the topic; None: nothing, only the cursor moves on."""
    key: bytes | None = None
    """Of the record: items of one key stay in order."""
    cursor: int | None = None
    """Where the feed goes on behind this one, never negative; None where it cannot."""
    at: float | None = None
    """When it was written, in seconds since the epoch, where that is known."""
    readable: bool = True
    """Whether a worker will find a post or a deletion in it; what it does not becomes a dead letter there."""


class Feed(Protocol):
    """Where posts come from."""

    name: str
    """Of its cursor: two feeds of one name into one topic fence each other."""

    def items(self, cursor: int | None) -> Iterator[Item | None]:
        """What comes behind `cursor` (None: from the beginning, or from now on), in order.

        Now and then None, where nothing comes for a while, so that what was given can be written.

        Raises:
            ConfigurationError: it cannot be read as asked.
        """
        ...
