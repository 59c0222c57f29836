"""A steady rate that does not drift: what is due is counted from the start, not from the last record."""

from __future__ import annotations


class Pace:
    """`rate` records a second from `start` on (in monotonic seconds); the first is due at once."""

    def __init__(self, rate: float, start: float) -> None:
        self._rate = rate
        self._start = start

    def due(self, now: float) -> int:
        """How many records should have been sent by now."""
        return max(0, int((now - self._start) * self._rate) + 1) if now >= self._start else 0

    def wait_s(self, sent: int, now: float) -> float:
        """Seconds until one more than `sent` is due; 0 if it is."""
        return max(0.0, self._start + sent / self._rate - now)
