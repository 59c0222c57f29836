"""Batches of labels, as they are counted: a span each, linked to the traces that its labels bring.

No text, key or author is in a span: attributes are names, places in the topic and numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext, SpanKind, Status, StatusCode, Tracer

from worker.clock import Clock
from worker.tracing.carrier import LINKS, context_of, is_sampled
from worker.tracing.w3c import span_context_from
from worker.trends.count_traces import Counting
from worker.types import Record


class CountSpans:
    """Makes a span `count` of every batch; see `worker.trends.count_traces.CountTraces`."""

    def __init__(self, tracer: Tracer, topic: str, group: str, clock: Clock) -> None:
        self._tracer = tracer
        self._clock = clock
        self._always = {
            "messaging.system": "kafka",
            "messaging.operation.type": "process",
            "messaging.operation.name": "count",
            "messaging.destination.name": topic,
            "messaging.consumer.group.name": group,
        }

    def counting(self, partition: int, records: Sequence[Record]) -> Counting:
        span = self._tracer.start_span(
            "count",
            Context(),
            SpanKind.CONSUMER,
            attributes={
                **self._always,
                "messaging.destination.partition.id": str(partition),
                "messaging.batch.message_count": len(records),
                "messaging.kafka.offset": records[0].offset,
            },
            start_time=self._now(),
        )
        if span.is_recording():
            for context in _brought(records):
                span.add_link(context)
        return _Counting(span, self._now)

    def _now(self) -> int:
        return int(self._clock.time() * 1e9)


class _Counting:
    """A batch that is traced."""

    def __init__(self, span: Span, now: Callable[[], int]) -> None:
        self._span = span
        self._now = now

    def current(self) -> AbstractContextManager[object]:
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def ended(self, *, counted: bool) -> None:
        if not counted:
            self._span.set_attribute("error.type", "not_counted")
            self._span.set_status(Status(StatusCode.ERROR))
        self._span.end(self._now())


def _brought(records: Sequence[Record]) -> list[SpanContext]:
    """Where the first records come from that bring a trace, each once."""
    found: dict[tuple[int, int], SpanContext] = {}
    for record in records:
        brought = context_of(record.headers) if record.headers else []
        if brought and is_sampled(brought):
            context = span_context_from(brought)
            found[context.trace_id, context.span_id] = context
            if len(found) >= LINKS:
                break
    return list(found.values())
