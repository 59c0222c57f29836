"""The one way from a feed to a topic: take, wait until it is due, batch, send with the cursor."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from worker.clock import Clock
from worker.sources.edges import Feed, Item
from worker.sources.timing import Timing

_ITEMS = 2000
_BYTES = 8 * 1024 * 1024
_LINGER_S = 0.2
"""How long an item waits for others at most: a transaction takes about 10 ms."""
_LOOK_S = 0.2


class Opened(Protocol):
    """Where items go; `worker.sources.outlet.Outlet` is the real one."""

    def send(self, items: Sequence[Item]) -> None:
        """All of it or nothing."""
        ...


@dataclass
class Sent:
    """What was sent so far."""

    items: int = 0
    unreadable: int = 0
    """Of these: what workers will put with the dead letters."""


@dataclass
class _Batch:
    items: list[Item] = field(default_factory=list)
    bytes: int = 0
    since: float = 0.0


class Forward:
    """One feed into one outlet."""

    def __init__(
        self,
        outlet: Opened,
        timing: Timing,
        clock: Clock,
        stop: threading.Event,
        *,
        told: Callable[[Item, Sent], None] = lambda item, sent: None,
        turned: Callable[[], None] = lambda: None,
    ) -> None:
        """`told`: of the last item of each batch that is in the topic. `turned`: at each item or pause."""
        self._outlet = outlet
        self._timing = timing
        self._clock = clock
        self._stop = stop
        self._told = told
        self._turned = turned
        self._batch = _Batch()
        self.sent = Sent()

    def run(self, feed: Feed, cursor: int | None) -> Sent:
        """Send all that the feed gives behind `cursor`, until it ends or `stop` is set.

        Raises:
            ConfigurationError: the feed cannot be read.
            DependencyError: no broker answered in time, or it refused.
            DataLossAvertedError: a later process of this feed has taken over.
        """
        for item in feed.items(cursor):
            self._turned()
            if self._stop.is_set() or (item is not None and not self._wait(item)):
                break
            if item is not None:
                self._add(item)
            self._send_if_due()
        self._send()
        return self.sent

    def _wait(self, item: Item) -> bool:
        """Until the item is due; false: told to stop meanwhile."""
        while (wait_s := self._timing.wait_s(item)) > 0:
            self._clock.sleep(min(wait_s, _LOOK_S))
            self._send_if_due()
            if self._stop.is_set():
                return False
        return True

    def _add(self, item: Item) -> None:
        batch = self._batch
        if not batch.items:
            batch.since = self._clock.monotonic()
        batch.items.append(item)
        batch.bytes += len(item.value or b"")
        self._timing.sent()

    def _send_if_due(self) -> None:
        batch = self._batch
        full = len(batch.items) >= _ITEMS or batch.bytes >= _BYTES
        if full or (batch.items and self._clock.monotonic() - batch.since >= _LINGER_S):
            self._send()

    def _send(self) -> None:
        batch, self._batch = self._batch, _Batch()
        if not batch.items:
            return
        self._outlet.send(batch.items)
        self.sent.items += sum(item.written for item in batch.items)
        self.sent.unreadable += sum(not item.readable for item in batch.items)
        self._told(batch.items[-1], self.sent)
