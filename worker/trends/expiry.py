"""When to tell Redis that a key shall expire."""

from __future__ import annotations

from collections.abc import Mapping

from worker.clock import Clock

_MOST = 100_000
"""Keys remembered: 15 MB at most. Beyond, all are forgotten, and told once more."""
_EVERY = 20
"""A key's expiry is told again after this part of it; so it is this much too short at worst."""


class Telling:
    """What is to be told with one batch."""

    def __init__(self, told: Mapping[str, float], now: float) -> None:
        self._told = told
        self._now = now
        self.until: dict[str, float] = {}
        """By key, until when it need not be told again."""

    def due(self, key: str, kept_s: int) -> int:
        """The seconds to tell for a key that is written; 0 where it was told lately."""
        if self._now < self._told.get(key, self._now):
            return 0
        self.until[key] = self._now + kept_s / _EVERY
        return kept_s


class Expiries:
    """Remembers which keys were told to expire, so that a key is told once and not with every batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}

    def telling(self) -> Telling:
        """For a batch that is written next."""
        return Telling(self._told, self._clock.monotonic())

    def told(self, telling: Telling) -> None:
        """What was due has happened."""
        if len(self._told) + len(telling.until) > _MOST:
            self._told.clear()
        self._told.update(telling.until)

    def forget(self) -> None:
        """Other keys are written from now on."""
        self._told.clear()
