"""What the trends loop tells of its batches to who traces them, and the one who traces nothing."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from worker.clock import Clock
from worker.types import Record

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class Counting(Protocol):
    """One batch that is being counted."""

    def current(self) -> AbstractContextManager[object]:
        """Around what may be logged of it, on the loop's thread."""
        ...

    def ended(self, *, counted: bool) -> None:
        """It ends; whether it is in the store."""
        ...


class CountTraces(Protocol):
    """Follows batches into the store; belongs to the loop's thread. Never waits, never raises."""

    def counting(self, partition: int, records: Sequence[Record]) -> Counting:
        """The decoding and counting of some records of a partition begins."""
        ...


class _Untraced:
    """Traces nothing."""

    def counting(self, partition: int, records: Sequence[Record]) -> Counting:
        return self

    def current(self) -> AbstractContextManager[object]:
        return nullcontext()

    def ended(self, *, counted: bool) -> None:
        pass


UNTRACED = _Untraced()


def traces_by(tracer: Tracer | None, topic: str, group: str, clock: Clock) -> CountTraces:
    """Who follows the batches of a role: nobody where there is no tracer.

    Args:
        tracer: As `worker.tracing.opened` gives it.
        topic: Of the labels.
        group: The consumer group.
        clock: The loop's.
    """
    if tracer is None:
        return UNTRACED
    from worker.trends.count_spans import CountSpans

    return CountSpans(tracer, topic, group, clock)
