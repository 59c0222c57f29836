"""`python -m tests.chaos.process worker`: the product's own command, with a wall clock that can be stepped.

Steps come to all that the product itself asks the time for. Kafka's and Redis's clients and servers keep the
machine's clock: libfaketime, which would step it for a whole process, breaks Python's `time.sleep`.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

from worker import process
from worker.cli import main
from worker.clock import SystemClock

CLOCK = "MOODSTREAM_TEST_CLOCK"
"""Variable with the name of a file that holds how many seconds the wall clock is off."""
_LOOK_EVERY_S = 0.5


class SteppedClock(SystemClock):
    """The machine's clock, but that the wall clock is off by what a file says."""

    def __init__(self) -> None:
        self._file = Path(os.environ[CLOCK])
        self._step = 0.0
        self._looked = 0.0

    def time(self) -> float:
        now = time.monotonic()
        if now - self._looked > _LOOK_EVERY_S:
            self._looked = now
            self._step = float(self._file.read_text() or 0)
        return super().time() + self._step


def run() -> None:
    """The command line, on such a clock."""
    setattr(process, "SystemClock", SteppedClock)  # noqa: B010 - it is not exported
    main()


if __name__ == "__main__":
    run()
