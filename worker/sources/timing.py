"""When an item may be sent. Pure but for the clock that is passed in."""

from __future__ import annotations

import threading
from collections.abc import Iterator

from worker.clock import Clock
from worker.sources.edges import Item

_TURN_S = 0.2


class Timing:
    """At most `rate` items a second, or with the gaps that lay between the posts, `speed` times as fast."""

    def __init__(self, clock: Clock, *, rate: float | None = None, speed: float | None = None) -> None:
        self._clock = clock
        self._gap_s = 0.0 if rate is None else 1 / rate
        self._speed = speed
        self._next = clock.monotonic()
        self._first: tuple[float, float] | None = None

    def wait_s(self, item: Item) -> float:
        """Seconds until the item is due; 0 and less: now. Of items that go back in time, now."""
        now = self._clock.monotonic()
        due = self._next
        if self._speed is not None and item.at is not None:
            if self._first is None:
                self._first = (item.at, now)
            written_at, began_at = self._first
            due = max(due, began_at + (item.at - written_at) / self._speed)
        return due - now

    def sent(self) -> None:
        """One more was sent. A feed that stood still may catch up a second's worth, not more."""
        self._next = max(self._next, self._clock.monotonic() - 1.0) + self._gap_s


def pause(clock: Clock, stop: threading.Event, seconds: float) -> Iterator[None]:
    """Wait so long, or until `stop` is set; now and then a turn, for what must not wait meanwhile."""
    until = clock.monotonic() + seconds
    yield None
    while not stop.is_set() and (left_s := until - clock.monotonic()) > 0:
        clock.sleep(min(left_s, _TURN_S))
        yield None
