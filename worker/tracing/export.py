"""Spans on their way to the collector: in the background, never more than a queue holds, each counted.

Nothing here may hold up a role. Spans wait in a bounded queue, a thread sends them, and what finds the queue
full is counted and dropped. A collector that is away is one warning, and one line when it is back.

The provider is ours and not the process's (`set_tracer_provider`): libraries that bring spans of their own,
FastAPI among them, would otherwise put URLs of requests into our traces.
"""

from __future__ import annotations

import logging
import os
import threading
import uuid
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from opentelemetry.exporter.otlp.proto.http import trace_exporter
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_QUEUE_SIZE
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased

from worker import metrics as m
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.process import VERSION
from worker.settings import TracingSettings
from worker.tracing.log_ids import ids_in_logs

if TYPE_CHECKING:
    from opentelemetry.trace import Tracer

_QUEUE = 2048
"""Spans that wait, where OTEL_BSP_MAX_QUEUE_SIZE does not say: some seconds of a busy worker."""

log = logging.getLogger(__name__)


@contextmanager
def exporting(
    settings: TracingSettings, *, service: str, instance: str | None, metrics: Metrics, flush_s: float
) -> Iterator[Tracer]:
    """A tracer whose spans go to the collector; leaving sends what is left, for `flush_s` seconds at most.

    Raises:
        ConfigurationError: an `OTEL_*` variable cannot be used.
    """
    reason = _Reason()
    said = logging.getLogger(trace_exporter.__name__)
    said.addFilter(reason)
    try:
        counted = _Counted(_exporter(settings), str(settings.endpoint), reason, metrics)
        queue = _queue_size()
        provider = TracerProvider(
            sampler=ParentBased(TraceIdRatioBased(settings.sample)),
            resource=_resource(service, instance),
            shutdown_on_exit=False,
        )
        provider.add_span_processor(_Bounded(_processor(counted, queue), counted, queue))
        try:
            with ids_in_logs():
                yield provider.get_tracer("moodstream", VERSION)
        finally:
            _close(provider, flush_s)
            counted.closed()
    finally:
        said.removeFilter(reason)


def _exporter(settings: TracingSettings) -> SpanExporter:
    """OTLP's own. Certificates, compression and time-out are its OTEL_EXPORTER_OTLP_* variables."""
    try:
        return trace_exporter.OTLPSpanExporter(endpoint=settings.url, headers=settings.header_map)
    except (RuntimeError, ValueError, OSError) as error:
        raise ConfigurationError([f"tracing: OTEL_EXPORTER_OTLP_*: {error}"]) from error


def _queue_size() -> int:
    text = os.environ.get(OTEL_BSP_MAX_QUEUE_SIZE) or str(_QUEUE)
    if not text.isdecimal() or int(text) == 0:
        raise ConfigurationError([f"{OTEL_BSP_MAX_QUEUE_SIZE}: not a number of spans above 0"])
    return int(text)


def _processor(exporter: SpanExporter, queue: int) -> BatchSpanProcessor:
    try:
        return BatchSpanProcessor(exporter, max_queue_size=queue)
    except ValueError as error:
        raise ConfigurationError([f"tracing: OTEL_BSP_*: {error}"]) from error


def _resource(service: str, instance: str | None) -> Resource:
    """Who we are; OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win."""
    ours = Resource(
        {
            "service.name": service,
            "service.version": VERSION,
            "service.instance.id": instance or str(uuid.uuid4()),
        }
    )
    return Resource.create().merge(ours).merge(OTELResourceDetector().detect())


def _close(provider: TracerProvider, within_s: float) -> None:
    """Send what is left. The SDK would wait half a minute for a collector that hangs."""
    closing = threading.Thread(target=provider.shutdown, name="close-traces", daemon=True)
    closing.start()
    closing.join(within_s)


class _Reason(logging.Filter):
    """Keeps what the exporter logs, a line each time, from the log, and the first of it for our own line."""

    def __init__(self) -> None:
        super().__init__()
        self.first: str | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        self.first = self.first or record.getMessage()
        return False


class _Counted(SpanExporter):
    """Counts what the collector took and what not; belongs to the thread that sends."""

    def __init__(self, exporter: SpanExporter, name: str, reason: _Reason, metrics: Metrics) -> None:
        self._exporter = exporter
        self._name = name
        self._reason = reason
        self._spans = metrics.counter(m.TRACING_SPANS)
        self._away = False
        self.taken = 0
        """Spans that were put into the queue; the threads that end spans write it, which is one."""
        self.done = 0
        """Of these, what was sent or given up; only the thread that sends writes it."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self._reason.first = None
        try:
            result = self._exporter.export(spans)
        except Exception as error:
            self._reason.first = f"{type(error).__name__}: {error}"
            result = SpanExportResult.FAILURE
        self.done += len(spans)
        if result is SpanExportResult.SUCCESS:
            self._spans.labels("exported").inc(len(spans))
            if self._away:
                log.info("%s takes spans again", self._name)
        else:
            self._spans.labels("failed").inc(len(spans))
            if not self._away:
                log.warning("%s takes no spans, going on without: %s", self._name, self._reason.first)
        self._away = result is not SpanExportResult.SUCCESS
        return result

    def dropped(self, n: int) -> None:
        """Spans that were never sent."""
        self._spans.labels("dropped").inc(n)

    def closed(self) -> None:
        """What was not sent by now is lost."""
        if self.taken > self.done:
            self.dropped(self.taken - self.done)
            log.warning("%d spans were not sent in time", self.taken - self.done)

    def shutdown(self) -> None:
        self._exporter.shutdown()


class _Bounded(SpanProcessor):
    """Drops what would not fit the queue behind it. That one drops too, and does not say how many."""

    def __init__(self, inner: BatchSpanProcessor, counted: _Counted, limit: int) -> None:
        self._inner = inner
        self._counted = counted
        self._limit = limit

    def on_end(self, span: ReadableSpan) -> None:
        if self._counted.taken - self._counted.done >= self._limit:
            self._counted.dropped(1)
        else:
            self._counted.taken += 1
            self._inner.on_end(span)

    def shutdown(self) -> None:
        self._inner.shutdown()  # type: ignore[no-untyped-call]

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._inner.force_flush(timeout_millis)
