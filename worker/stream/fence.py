"""What it means when Kafka fences a worker that has a name (`worker.instance_id`)."""

from __future__ import annotations

import logging
import math

from worker.clock import Clock
from worker.errors import DataLossAvertedError

_WITHIN_S = 60.0

log = logging.getLogger(__name__)


class NameGuard:
    """Tells a second worker of the same name from what looks like one.

    Once, it may be our own doing: the answer to a request of ours was lost, and the broker took its
    repetition for somebody else's. Two workers that share a name fence each other again and again. So the
    first time is forgiven and the second within a minute is not: of two workers one ends, or both.
    """

    def __init__(self, clock: Clock, *, forgiving: bool = True) -> None:
        """Without `forgiving` the first time ends us: for who is started by hand in somebody's place."""
        self._clock = clock
        self._forgiving = forgiving
        self._last = -math.inf

    def fenced(self, reason: str) -> None:
        """We were fenced.

        Raises:
            DataLossAvertedError: not for the first time within a minute.
        """
        if not self._forgiving:
            raise DataLossAvertedError("another process was started in this one's place, and goes on there")
        now = self._clock.monotonic()
        if now - self._last < _WITHIN_S:
            raise DataLossAvertedError(
                "another worker runs under the same worker.instance_id and has fenced this one: "
                "give each worker a name of its own"
            )
        self._last = now
        log.warning("fenced, beginning anew under the same name: %s", reason)
