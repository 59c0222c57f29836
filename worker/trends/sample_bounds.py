"""From which rank on sets of samples take no more, so that what cannot get in is not sent."""

from __future__ import annotations

from collections.abc import Iterable

from worker.clock import Clock
from worker.trends.sampling import HIGHEST_RANK
from worker.trends.windows import HOUR

_MOST = 100_000
"""Sets remembered: 15 MB at most. Beyond, all are forgotten, and learnt anew."""
_KEPT_S = HOUR
"""Seconds after which all are forgotten: a set that has expired since takes everything again."""


class SampleBounds:
    """Remembers the greatest rank of each set that keeps as many as it may.

    It only ever falls: a smaller rank takes the place of the greatest, and a deleted post leaves its rank.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._bounds: dict[str, int] = {}
        self._forgotten_at = clock.monotonic()

    def bound(self, key: str) -> int:
        """Posts of this rank and above cannot get into the set."""
        return self._bounds.get(key, HIGHEST_RANK + 1)

    def learn(self, keys: Iterable[str], greatest: Iterable[int]) -> None:
        """What Redis answered: the greatest rank of each of these sets, -1 where there is room."""
        now = self._clock.monotonic()
        if now - self._forgotten_at > _KEPT_S or len(self._bounds) > _MOST:
            self.forget()
        self._bounds.update((key, rank) for key, rank in zip(keys, greatest, strict=False) if rank >= 0)

    def forget(self) -> None:
        """Other sets are written from now on."""
        self._bounds.clear()
        self._forgotten_at = self._clock.monotonic()
