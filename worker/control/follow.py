"""What the control topic says now."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from worker.control.messages import BadControlError, Board, Compared, Promotion, Report, Shadowing
from worker.control.topic import ControlReader
from worker.errors import DependencyError
from worker.settings import Settings


class Watched:
    """The board, kept up to date by a reader's thread."""

    def __init__(self) -> None:
        self._board = Board()
        self._lock = threading.Lock()

    def heard(self, key: bytes | None, value: bytes | None) -> None:
        """One message; one that sets nothing is the workers' to complain about."""
        with self._lock:
            try:
                self._board.apply(key, value)
            except BadControlError:
                return

    @property
    def settings(self) -> tuple[Promotion | None, Shadowing | None, bool]:
        """The model, its shadow, and whether workers are paused."""
        with self._lock:
            return self._board.promotion, self._board.shadow, self._board.paused

    @property
    def reports(self) -> list[Report]:
        """What each worker said last."""
        with self._lock:
            return self._board.reports


@contextmanager
def watched(settings: Settings, *, wait_s: float) -> Iterator[Watched]:
    """The board as the control topic has it, and as it goes on.

    Raises:
        DependencyError: the topic could not be read within `wait_s` seconds.
    """
    board = Watched()
    topic = settings.topics.control
    reader = ControlReader(settings.kafka, topic, board.heard)
    reader.start()
    try:
        if not reader.caught_up.wait(wait_s):
            raise DependencyError("kafka", f"{topic} could not be read within {wait_s:.0f} s")
        if reader.trouble is not None:
            raise DependencyError("kafka", f"{topic}: {reader.trouble}; `moodstream topics create` makes it")
        yield board
    finally:
        reader.close()


def together(reports: list[Report], model: str) -> Compared | None:
    """What the shadows of all workers have compared for `model`, added up; None: nothing."""
    found = [report.shadow for report in reports if report.shadow and report.shadow.model == model]
    if not found:
        return None
    return Compared(
        model=model,
        against=found[0].against,
        n=sum(each.n for each in found),
        agreed=sum(each.agreed for each in found),
        skipped=sum(each.skipped for each in found),
    )
