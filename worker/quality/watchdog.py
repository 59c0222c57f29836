"""Whether corrections move: Faust's consumers have been seen to stop in silence."""

from __future__ import annotations

from worker.web.health import Health


class Watchdog:
    """Lets the role count as alive for as long as there is nothing to do, or it is done, or Kafka is away."""

    def __init__(self, health: Health) -> None:
        self._health = health
        self._progress: object = None

    def turn(self, *, waiting: bool, behind: int, progress: object) -> None:
        """To be called every now and then.

        Args:
            waiting: Whether Kafka owes us an answer: no reason to be restarted.
            behind: Records that are there and not dealt with.
            progress: Anything that changes whenever something moves.
        """
        if waiting or not behind or progress != self._progress:
            self._health.beat()
        self._progress = progress
