"""How long X is to be left alone after a failure, as its documentation asks. Pure but for the clock.

https://docs.x.com/x-api/fundamentals/handling-disconnections
"""

from __future__ import annotations

from collections.abc import Mapping

from worker.clock import Clock

_STEP_S, _MOST_STEPS_S = 0.25, 16.0
_HTTP_S, _MOST_HTTP_S = 5.0, 320.0
_LIMITED_S, _MOST_LIMITED_S = 60.0, 960.0
"""X counts by 15 minutes."""
_TOO_MANY = 429


class Waits:
    """Failures in a row; each kind has its own steps."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._cuts = self._errors = self._limits = 0
        self._worked = False

    def worked(self) -> None:
        """A connection brings posts."""
        self._cuts = self._errors = self._limits = 0
        self._worked = True

    def cut(self) -> float:
        """Seconds, after a connection broke or could not be made.

        None after one that worked, then 250 ms more each time.
        """
        worked, self._worked = self._worked, False
        if worked:
            return 0.0
        self._cuts += 1
        return min(self._cuts * _STEP_S, _MOST_STEPS_S)

    def refused(self, status: int, headers: Mapping[str, str]) -> float:
        """Seconds, after an answer that was no stream."""
        self._worked = False
        if status == _TOO_MANY:
            self._limits += 1
            told = self._until_reset(headers)
            return min(told or _doubled(_LIMITED_S, self._limits), _MOST_LIMITED_S)
        self._errors += 1
        return min(_doubled(_HTTP_S, self._errors), _MOST_HTTP_S)

    def _until_reset(self, headers: Mapping[str, str]) -> float | None:
        """Until X counts anew, with a second for clocks that differ; None where that is not the reason."""
        reset, left = headers.get("x-rate-limit-reset") or "", headers.get("x-rate-limit-remaining") or "0"
        if left != "0" or not (reset.isascii() and reset.isdecimal()):
            return None
        seconds = float(reset) - self._clock.time() + 1.0
        return seconds if seconds > 0 else None


def _doubled(first_s: float, failures: int) -> float:
    return first_s * float(2 ** min(failures - 1, 10))
