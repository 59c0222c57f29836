"""From one feed to many listeners, none of whom can slow the feed or another one. No Kafka, no Redis."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec

from worker.clock import Clock
from worker.types import LabelName
from worker.web.problems import TooManyError

MOST_LISTENERS = 64
"""Of one instance. Each costs a connection and some ten wake-ups a second."""
PER_SECOND = 20
"""Labels that one listener gets at most: nobody reads faster."""


class LiveLabel(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is shown of one label."""

    id: str | int
    label: LabelName
    score: float
    source: str
    created_at: datetime
    label_ref: str
    """`topic/partition/offset` of the label, for corrections."""
    lang: str | None = None
    text: str | None = None
    queries: tuple[str, ...] = ()
    """Ids of the tracked queries that it matches; for the hub, and not sent on."""


class News(msgspec.Struct, frozen=True):
    """What one instance has counted since its last news."""

    counted: int
    labels: tuple[LiveLabel, ...]
    """Some of them."""


class Wanted(NamedTuple):
    """Which labels a listener asks for; `None`: any."""

    source: str | None = None
    lang: str | None = None
    query: str | None = None

    def holds(self, label: LiveLabel) -> bool:
        """Whether a label is asked for."""
        return (
            self.source in (None, label.source)
            and self.lang in (None, label.lang)
            and (self.query is None or self.query in label.queries)
        )


class Tick(msgspec.Struct, frozen=True):
    """What one listener missed and got since its last tick."""

    counted: int
    """Labels counted by all instances, asked for or not."""
    shown: int
    """Labels that this listener got."""
    lost: int
    """Labels that were on their way to this listener and made room for newer ones."""


class Listener:
    """One listener's queue and its rate. `offer` is the feed's thread's to call, the rest the listener's."""

    def __init__(self, wanted: Wanted, clock: Clock, per_second: int) -> None:
        self._wanted = wanted
        self._clock = clock
        self._per_second = per_second
        self._lock = threading.Lock()
        self._waiting: deque[LiveLabel] = deque()
        self._allowed = float(per_second)
        self._refilled_at = clock.monotonic()
        self._counted = self._shown = self._lost = 0

    def offer(self, news: News) -> None:
        """Take what is asked for; never waits."""
        fitting = [label for label in news.labels if self._wanted.holds(label)]
        with self._lock:
            self._counted += news.counted
            self._waiting.extend(fitting)
            while len(self._waiting) > self._per_second:  # what is shown is a second old at most
                self._waiting.popleft()
                self._lost += 1

    def take(self) -> Sequence[LiveLabel]:
        """The labels that may be shown now, oldest first; of too many the newest."""
        now = self._clock.monotonic()
        with self._lock:
            earned = (now - self._refilled_at) * self._per_second
            self._allowed = min(self._per_second, self._allowed + earned)
            self._refilled_at = now
            taken = [self._waiting.popleft() for _ in range(min(len(self._waiting), int(self._allowed)))]
            self._allowed -= len(taken)
            self._shown += len(taken)
        return taken

    def tick(self) -> Tick:
        """The numbers since the last tick."""
        with self._lock:
            tick = Tick(self._counted, self._shown, self._lost)
            self._counted = self._shown = self._lost = 0
        return tick


class Hub:
    """Hands the news to everyone who listens. Thread-safe."""

    def __init__(
        self, clock: Clock, *, most_listeners: int = MOST_LISTENERS, per_second: int = PER_SECOND
    ) -> None:
        self._clock = clock
        self._most = most_listeners
        self._per_second = per_second
        self._lock = threading.Lock()
        self._listeners: set[Listener] = set()
        self._heard = threading.Event()
        self._closed = threading.Event()

    @property
    def closed(self) -> bool:
        """Whether listeners should go."""
        return self._closed.is_set()

    @property
    def listeners(self) -> int:
        """How many listen."""
        with self._lock:
            return len(self._listeners)

    def wait_for_listeners(self, within_s: float) -> bool:
        """Wait until somebody listens; false: nobody yet."""
        return self._heard.wait(within_s)

    @contextmanager
    def listen(self, wanted: Wanted) -> Iterator[Listener]:
        """Listen while the block runs.

        Raises:
            TooManyError: as many listen as can be served.
        """
        listener = Listener(wanted, self._clock, self._per_second)
        with self._lock:
            if len(self._listeners) >= self._most or self.closed:
                raise TooManyError(f"{self._most} listeners are being served: ask again later")
            self._listeners.add(listener)
            self._heard.set()
        try:
            yield listener
        finally:
            with self._lock:
                self._listeners.discard(listener)
                if not self._listeners:
                    self._heard.clear()

    def publish(self, news: News) -> None:
        """Tell everyone; never waits for one of them."""
        with self._lock:
            listeners = tuple(self._listeners)
        for listener in listeners:
            listener.offer(news)

    def close(self) -> None:
        """Ask every listener to go, and take no new ones."""
        self._closed.set()
