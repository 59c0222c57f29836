"""Batches as OpenTelemetry spans, and the traces of single records through them.

A batch has a trace of its own, whose root is `batch`. A record that brings a trace (`traceparent`) cannot be
its child, nor the other way round: a span has one parent. As OpenTelemetry's conventions for messaging have
it, the batch is linked to the context of each such record. In the record's own trace stands a span of what
became of it, linked back to the batch, and the label carries on that span's context.

No span holds a text, a key or an author: attributes are names, places in topics and numbers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer

from worker.clock import Clock
from worker.errors import BadRecordError
from worker.stream.batch import Batch, Entry
from worker.stream.model_stage import Answered
from worker.stream.traces import Leaving
from worker.tracing.carrier import LINKS, context_of, is_sampled
from worker.tracing.w3c import context_from, headers_for
from worker.types import Headers, OutRecord, Post


class _Decoded(NamedTuple):
    """One call of step 2; times in monotonic seconds."""

    records: int
    start: float
    end: float


class _Cut(NamedTuple):
    """A batch that went to the model."""

    decoded: list[_Decoded]
    at: float


class BatchSpans:
    """Makes the spans of batches, once their fate is known; see `worker.stream.traces.Traces`."""

    def __init__(self, tracer: Tracer, group: str, clock: Clock) -> None:
        self._tracer = tracer
        self._group = group
        self._clock = clock
        self._decoded: deque[_Decoded] = deque()
        """Of what is in the builder, in its order."""
        self._cut: deque[_Cut] = deque()

    @contextmanager
    def decoding(self, records: int) -> Iterator[None]:
        start = self._clock.monotonic()
        yield
        self._decoded.append(_Decoded(records, start, self._clock.monotonic()))

    def cut(self, left: int) -> None:
        """What is left in the builder came last: found from the end, whatever was dropped meanwhile."""
        kept: deque[_Decoded] = deque()
        while self._decoded and left > 0:
            last = self._decoded.pop()
            kept.appendleft(last)
            left -= last.records
        mine = [*self._decoded, *([kept[0]] if left < 0 else [])]
        self._decoded = kept
        self._cut.append(_Cut(mine, self._clock.monotonic()))

    @contextmanager
    def publishing(self, answered: Answered) -> Iterator[Leaving]:
        now = self._clock.monotonic()
        cut = self._cut.popleft() if self._cut else _Cut([], now)
        if not answered.batch.entries:  # all of it is another worker's now
            yield _PassedOn(answered.batch)
            return
        shift = self._clock.time() - now

        def at(monotonic: float) -> int:
            return int((monotonic + shift) * 1e9)

        began = cut.decoded[0].start if cut.decoded else cut.at
        span = self._tracer.start_span(
            "batch",
            Context(),
            SpanKind.CONSUMER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "process",
                "messaging.operation.name": "label",
                "messaging.batch.message_count": len(answered.batch.entries),
                "messaging.consumer.group.name": self._group,
            },
            start_time=at(began),
        )
        if not span.is_recording():
            yield _PassedOn(answered.batch)
            return
        leaving = _Traced(self._tracer, span, answered, at(cut.at), lambda: at(self._clock.monotonic()))
        leaving.had(cut.decoded, at)
        with trace.use_span(span, record_exception=False, set_status_on_exception=False):
            try:
                yield leaving
            except Exception as error:
                leaving.failed(error)
                raise
            finally:
                leaving.end()

    def forgotten(self) -> None:
        self._decoded.clear()
        self._cut.clear()


class _PassedOn:
    """A batch that is not of the share: what its records bring goes on as it came."""

    def __init__(self, batch: Batch) -> None:
        self._batch = batch

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        yield

    def carry(self, out: list[OutRecord]) -> list[OutRecord]:
        return [
            _with(record, context_of(entry.record.headers)) if _takes(entry) else record
            for entry, record in zip(self._batch.entries, out, strict=True)
        ]

    def failed(self, error: Exception) -> None:
        pass


class _Traced:
    """A batch that is of the share."""

    def __init__(
        self, tracer: Tracer, span: Span, answered: Answered, cut: int, now: Callable[[], int]
    ) -> None:
        """`cut`, and what `now` gives: nanoseconds since the epoch."""
        self._tracer = tracer
        self._span = span
        self._answered = answered
        self._cut = cut
        self._now = now
        self._own = trace.set_span_in_context(span, Context())
        self._records: list[Span] = []
        """One in the trace of each record that brought one."""

    def had(self, decoded: list[_Decoded], at: Callable[[float], int]) -> None:
        """The steps that are over, and what came of them."""
        answered = self._answered
        if decoded:
            self._child(
                "decode", at(decoded[0].start), at(decoded[-1].end),
                {"moodstream.busy_s": sum(one.end - one.start for one in decoded)},
            )  # fmt: skip
        tokens = answered.batch.tokens
        self._child(
            "classify", at(answered.began), at(answered.began + answered.seconds),
            {"moodstream.tokens": tokens},
        )  # fmt: skip
        kinds = [_kind(entry) for entry in answered.batch.entries]
        topics = {entry.record.topic for entry in answered.batch.entries}
        self._span.set_attributes(
            {
                "moodstream.model": answered.model,
                "moodstream.tokens": tokens,
                "moodstream.labels": kinds.count("label"),
                "moodstream.dead_letters": kinds.count("dead_letter"),
                "moodstream.deletions": kinds.count("deletion"),
            }
        )
        if len(topics) == 1:
            self._span.set_attribute("messaging.destination.name", topics.pop())

    def _child(self, name: str, start: int, end: int, attributes: dict[str, float]) -> None:
        self._tracer.start_span(name, self._own, attributes=attributes, start_time=start).end(end)

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        child = self._tracer.start_span(name, self._own, start_time=self._now())
        with trace.use_span(child, record_exception=False, set_status_on_exception=False):
            try:
                yield
            except Exception as error:
                _fail(child, error)
                raise
            finally:
                child.end(self._now())

    def carry(self, out: list[OutRecord]) -> list[OutRecord]:
        carried = list(out)
        brought = 0
        for place, entry in enumerate(self._answered.batch.entries):
            if not entry.record.headers:
                continue
            context = context_of(entry.record.headers)
            if not context:
                continue
            brought += 1
            if len(self._records) < LINKS and is_sampled(context):
                context = self._traced(entry, context, out[place].topic)
            if _takes(entry):
                carried[place] = _with(out[place], context)
        if brought:
            self._span.set_attribute("moodstream.traced_records", brought)
        return carried

    def _traced(self, entry: Entry, brought: Headers, topic: str) -> Headers:
        """A span in the record's own trace; the headers by which that trace goes on behind it."""
        parent = context_from(brought)
        self._span.add_link(trace.get_current_span(parent).get_span_context())
        record = entry.record
        span = self._tracer.start_span(
            _kind(entry),
            parent,
            SpanKind.PRODUCER,
            attributes={
                "messaging.system": "kafka",
                "messaging.operation.type": "create",
                "messaging.operation.name": _kind(entry),
                "messaging.destination.name": topic,
                "moodstream.input": f"{record.topic}/{record.partition}/{record.offset}",
                "moodstream.model": self._answered.model,
            },
            links=[trace.Link(self._span.get_span_context())],
            start_time=self._cut,
        )
        if isinstance(entry.what, BadRecordError):
            span.set_attribute("error.type", entry.what.kind)
            span.set_status(Status(StatusCode.ERROR))
        self._records.append(span)
        return headers_for(span)

    def failed(self, error: Exception) -> None:
        for span in (self._span, *self._records):
            _fail(span, error)
        self.end()  # before the loop waits, to try again

    def end(self) -> None:
        """All is over, if it was not before."""
        now = self._now()
        for span in (*self._records, self._span):
            if span.is_recording():
                span.end(now)


def _fail(span: Span, error: Exception) -> None:
    """Only of what kind it is: what an error says is for the log."""
    span.set_attribute("error.type", type(error).__name__)
    span.set_status(Status(StatusCode.ERROR))


def _kind(entry: Entry) -> str:
    """What becomes of a record, in the words of the metrics."""
    if isinstance(entry.what, Post):
        return "label"
    return "dead_letter" if isinstance(entry.what, BadRecordError) else "deletion"


def _takes(entry: Entry) -> bool:
    """Whether what leaves takes the trace along: a dead letter has the headers of its record as they came."""
    return not isinstance(entry.what, BadRecordError)


def _with(record: OutRecord, more: Headers) -> OutRecord:
    return record._replace(headers=[*record.headers, *more]) if more else record
