"""What /livez and /readyz answer from: a small object that the loops write to, from any thread."""

from __future__ import annotations

import threading
from collections.abc import Iterable

from worker.clock import Clock


class Health:
    """Whether the loop moves (liveness) and what still keeps the role from its work (readiness).

    The loop beats once a turn, an empty turn included: a loop that waits for records or for a server that
    is away still turns, so an outage of Kafka or Redis never fails liveness. Only a loop that hangs does.
    """

    def __init__(self, clock: Clock, stall_s: float, conditions: Iterable[str]) -> None:
        """Start alive, with none of the `conditions` met.

        `stall_s`: seconds without a beat after which the loop counts as hung.
        """
        self._clock = clock
        self._stall_s = stall_s
        self._lock = threading.Lock()
        self._conditions = dict.fromkeys(conditions, False)
        self._last_beat = clock.monotonic()

    def beat(self) -> None:
        """The loop has made a turn."""
        self._last_beat = self._clock.monotonic()

    def set(self, condition: str, holds: bool) -> None:
        """Say whether one condition of readiness holds; a name not seen before becomes a condition too."""
        with self._lock:
            self._conditions[condition] = holds

    @property
    def still_s(self) -> float:
        """Seconds since the last beat."""
        return self._clock.monotonic() - self._last_beat

    @property
    def alive(self) -> bool:
        """Whether the loop has moved within `stall_s`."""
        return self.still_s <= self._stall_s

    def conditions(self) -> dict[str, bool]:
        """Each condition of readiness and whether it holds, as of now."""
        with self._lock:
            return dict(self._conditions)
