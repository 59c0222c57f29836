"""A server that may be away: when to ask it again, and what to tell about it."""

from __future__ import annotations

import logging

from worker import metrics as m
from worker.clock import Clock, backoff
from worker.metrics import Metrics
from worker.web.health import Health

log = logging.getLogger(__name__)


class Dependency:
    """Whether one server answers. An outage is two log lines, its start and its end, however long it lasts.

    Nothing here waits: who would ask looks at `due` first, and goes on with what can be done meanwhile.
    """

    def __init__(self, name: str, clock: Clock, metrics: Metrics, health: Health) -> None:
        self._name = name
        self._clock = clock
        self._health = health
        self._up = metrics.gauge(m.DEPENDENCY_UP).labels(name)
        self._retries = metrics.counter(m.RETRIES).labels(name)
        self._waits = backoff()
        self._ask_again = clock.monotonic()
        self._away_since: float | None = None
        health.set(name, False)

    @property
    def due(self) -> bool:
        """Whether it may be asked now: it answered last time, or the wait since is over."""
        return self._clock.monotonic() >= self._ask_again

    def works(self) -> None:
        """It has answered."""
        self._up.set(1)
        self._health.set(self._name, True)
        self._ask_again = self._clock.monotonic()
        if self._away_since is not None:
            log.info("%s answers again after %.1f s", self._name, self._ask_again - self._away_since)
            self._away_since = None
            self._waits = backoff()

    def failed(self, reason: str) -> None:
        """It has not answered, or refused; wait a while, longer each time."""
        now = self._clock.monotonic()
        self._up.set(0)
        self._health.set(self._name, False)
        self._retries.inc()
        self._ask_again = now + next(self._waits)
        if self._away_since is None:
            log.warning("%s is away, waiting for it: %s", self._name, reason)
            self._away_since = now
