"""A loop that is traced, and its spans on their way to a collector."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import msgspec
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.trace import Tracer

from tests.support.collector import Collector
from tests.support.models import WordModel
from worker import metrics as m
from worker.clock import SystemClock
from worker.configuration import load
from worker.metrics import Metrics
from worker.stream.batch import BatchBuilder
from worker.stream.loop import Loop
from worker.stream.memory import MemoryLog, MemoryPublisher, MemorySource
from worker.stream.meter import Meter
from worker.stream.outcome import Destination
from worker.stream.pace import Budget
from worker.stream.traces import traces_by
from worker.tracing.export import exporting
from worker.types import Headers, OutRecord
from worker.web.health import Health

ERROR = Status.StatusCode.STATUS_CODE_ERROR
SECRET = "Bearer planted-token"
FLUSH_S = 60.0
"""Far more than it takes: closing waits for what it sends."""
Exporting = Callable[..., AbstractContextManager[Tracer]]


class Rig:
    """A loop over memory, traced or not; batches are full or the last one."""

    def __init__(
        self, tracer: Tracer | None, *, max_records: int = 8, model: WordModel | None = None
    ) -> None:
        self.log = MemoryLog()
        self.source = MemorySource(self.log)
        self.publisher = MemoryPublisher(self.log)
        clock, metrics = SystemClock(), Metrics()
        model = model or WordModel()
        self.loop = Loop(
            source=self.source,
            publisher=self.publisher,
            model=model,
            builder=BatchBuilder(max_records=max_records, pace=Budget(100_000), linger_s=60),
            destination=Destination("labels", "dead", model.name, "0"),
            clock=clock,
            meter=Meter(metrics, Health(clock, 60.0, ())),
            traces=traces_by(tracer, "the-group", clock),
        )

    def post(self, text: str, headers: Headers | None = None, **more: object) -> None:
        value = msgspec.json.encode({"id": 1, "text": text, **more})
        self.log.append("tweets", value, key=text.encode(), headers=headers)

    def run(self) -> list[OutRecord]:
        self.loop.run(self.source.is_exhausted, 60)
        return self.log.published


@contextmanager
def exporting_to(
    collector: Collector | str, metrics: Metrics | None = None, flush_s: float = FLUSH_S, **settings: str
) -> Iterator[Tracer]:
    """As a role opens it, but for how long closing may take."""
    url = collector if isinstance(collector, str) else collector.url
    found = load({"tracing.endpoint": url, **{f"tracing.{name}": v for name, v in settings.items()}}, {})
    with exporting(
        found.tracing,
        service="moodstream-worker",
        instance="one",
        metrics=metrics or Metrics(),
        flush_s=flush_s,
    ) as tracer:
        yield tracer


def counted(metrics: Metrics, outcome: str) -> float:
    return metrics.registry.get_sample_value(m.TRACING_SPANS.exposed, {"outcome": outcome}) or 0.0


def children(spans: Sequence[Span], parent: Span) -> list[str]:
    return [span.name for span in spans if span.parent_span_id == parent.span_id]
