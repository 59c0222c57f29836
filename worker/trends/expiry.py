"""When to tell Redis that a key shall expire."""

from __future__ import annotations

from worker.clock import Clock

_MOST = 100_000
"""Keys remembered: 15 MB at most. Beyond, all are forgotten, and told once more."""
_EVERY = 20
"""A key's expiry is told again after this part of it; so it is this much too short at worst."""


class Expiries:
    """Remembers which keys were told to expire, so that a key is told once and not with every batch."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._told: dict[str, float] = {}
        self._telling: dict[str, float] = {}

    def due(self, key: str, kept_s: int) -> int:
        """The seconds to tell for a key that is written now; 0 where it was told lately."""
        now = self._clock.monotonic()
        if now < self._told.get(key, now):
            return 0
        self._telling[key] = now + kept_s / _EVERY
        return kept_s

    def told(self) -> None:
        """What was due has happened."""
        if len(self._told) + len(self._telling) > _MOST:
            self._told.clear()
        self._told.update(self._telling)
        self._telling.clear()

    def not_told(self) -> None:
        """It may not have happened."""
        self._telling.clear()

    def forget(self) -> None:
        """Other keys are written from now on."""
        self._told.clear()
        self._telling.clear()
