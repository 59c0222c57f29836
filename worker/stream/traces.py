"""What the loop tells of its batches to who traces them, and the one who traces nothing.

An object is chosen at the start, so that a loop that is not traced asks nothing of any record.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Protocol

from worker.clock import Clock
from worker.stream.model_stage import Answered
from worker.types import OutRecord

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer


class Leaving(Protocol):
    """A batch that the model has answered, on its way out."""

    def step(self, name: str) -> AbstractContextManager[None]:
        """Around one step of it."""
        ...

    def carry(self, out: list[OutRecord]) -> list[OutRecord]:
        """`out`, one record for each of the batch, with the headers by which their traces go on."""
        ...

    def failed(self, error: Exception) -> None:
        """It was not published."""
        ...


class Traces(Protocol):
    """Follows batches through the loop; belongs to the loop's thread. Never waits, never raises."""

    def decoding(self, records: int) -> AbstractContextManager[None]:
        """Around the decoding of so many records, which go into the builder."""
        ...

    def cut(self, left: int) -> None:
        """A batch goes to the model; so many records stay in the builder."""
        ...

    def publishing(self, answered: Answered) -> AbstractContextManager[Leaving]:
        """Around steps 5 and 6 of the oldest batch that was cut and not published yet."""
        ...

    def forgotten(self) -> None:
        """All that was decoded and is not published: it comes again."""
        ...


class _Untraced:
    """Traces nothing."""

    _nothing = nullcontext()

    def decoding(self, records: int) -> AbstractContextManager[None]:
        return self._nothing

    def cut(self, left: int) -> None:
        pass

    def publishing(self, answered: Answered) -> AbstractContextManager[Leaving]:
        return _UNTRACED_BATCH

    def forgotten(self) -> None:
        pass


class _UntracedBatch:
    """Adds nothing to what leaves."""

    _nothing = nullcontext()

    def step(self, name: str) -> AbstractContextManager[None]:
        return self._nothing

    def carry(self, out: list[OutRecord]) -> list[OutRecord]:
        return out

    def failed(self, error: Exception) -> None:
        pass


_UNTRACED_BATCH: AbstractContextManager[Leaving] = nullcontext(_UntracedBatch())
UNTRACED: Traces = _Untraced()


def traces_by(tracer: Tracer | None, group: str, clock: Clock) -> Traces:
    """Who follows the batches of a role: nobody where there is no tracer.

    Args:
        tracer: As `worker.tracing.opened` gives it.
        group: The consumer group.
        clock: The loop's.
    """
    if tracer is None:
        return UNTRACED
    from worker.stream.batch_spans import BatchSpans

    return BatchSpans(tracer, group, clock)
