"""Between Kafka headers and OpenTelemetry's contexts, by its own propagator."""

from __future__ import annotations

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import Span, SpanContext
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from worker.types import Headers

_W3C = TraceContextTextMapPropagator()


def context_from(brought: Headers) -> Context:
    """The context that a record brings; `brought` is what `carrier.context_of` gave."""
    texts = {name: value.decode("latin-1") for name, value in brought if isinstance(value, bytes)}
    return _W3C.extract(texts, Context())


def span_context_from(brought: Headers) -> SpanContext:
    """The span that a record comes from; not valid where `brought` is empty."""
    return trace.get_current_span(context_from(brought)).get_span_context()


def headers_for(span: Span) -> Headers:
    """What a record carries on whose trace goes on behind `span`."""
    carrier: dict[str, str] = {}
    _W3C.inject(carrier, trace.set_span_in_context(span, Context()))
    return [(name, value.encode()) for name, value in carrier.items()]
