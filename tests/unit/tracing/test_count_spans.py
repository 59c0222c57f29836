"""Labels as they are counted: a span for each batch, linked to where its labels come from."""

from __future__ import annotations

import logging

from opentelemetry import trace
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from tests.support.collector import Collector, attributes_of, traceparent
from tests.support.label_source import TOPIC
from tests.support.labels import label
from tests.support.trends_in_memory import World
from worker.metrics import Metrics
from worker.settings import TracingSettings
from worker.tracing.carrier import LINKS
from worker.tracing.export import exporting


def counted(links: int, *, lost: int = 0, again: bool = False) -> tuple[list[Span], list[bytes]]:
    """The spans of a world in which so many labels bring a trace, and of them one twice and one unsampled."""
    with Collector() as collector:
        settings = TracingSettings(endpoint=collector.url)
        with exporting(settings, service="trends", instance=None, metrics=Metrics(), flush_s=60) as tracer:
            world = World(tracer=tracer)
            for number in range(links):
                world.source.put(label("joy", text="planted", author_id="planted"))
                world.source.headers[0, number] = [("traceparent", traceparent(number))]
            world.source.headers[0, links] = [("traceparent", traceparent(0))]
            world.source.headers[0, links + 1] = [("traceparent", traceparent(99_999, sampled=False))]
            world.source.put(label("fear"), label("fear"), None, b"planted")
            world.source.assign(0)
            world.store.loses_answers = lost
            world.source.again = int(again)
            world.turn(3)
            assert world.joy == links
        return collector.spans(), [body for _, _, body in collector.requests]


def test_a_batch_is_a_span_with_links_to_the_labels_traces() -> None:
    [span], bodies = counted(3)
    assert (span.name, span.kind, span.parent_span_id) == ("count", Span.SPAN_KIND_CONSUMER, b"")
    assert [link.trace_id.hex() for link in span.links] == [f"{number:032x}" for number in (1, 2, 3)]
    assert attributes_of(span) == {
        "messaging.system": "kafka",
        "messaging.operation.type": "process",
        "messaging.operation.name": "count",
        "messaging.destination.name": TOPIC,
        "messaging.consumer.group.name": "the-group",
        "messaging.destination.partition.id": "0",
        "messaging.batch.message_count": 7,
        "messaging.kafka.offset": 0,
    }
    assert span.status.code == Status.StatusCode.STATUS_CODE_UNSET
    assert not any(b"planted" in body for body in bodies)


def test_there_are_so_many_links_and_no_more() -> None:
    spans, _ = counted(LINKS + 10)
    assert sum(len(span.links) for span in spans) >= LINKS
    assert max(len(span.links) for span in spans) <= LINKS


def test_what_is_logged_of_a_batch_has_its_ids() -> None:
    logged: list[tuple[str, bytes]] = []

    class Ids(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            now = trace.get_current_span().get_span_context()
            logged.append((record.getMessage(), now.trace_id.to_bytes(16, "big")))

    log, handler = logging.getLogger("worker.trends.loop"), Ids(logging.WARNING)
    log.addHandler(handler)
    try:
        [span, _], _ = counted(1, again=True)
    finally:
        log.removeHandler(handler)
    assert [trace_id for message, trace_id in logged if "brought offset 4 again" in message] == [
        span.trace_id
    ]


def test_a_batch_of_which_the_store_does_not_say_so_is_an_error() -> None:
    [span], _ = counted(1, lost=1)
    assert span.status.code == Status.StatusCode.STATUS_CODE_ERROR
    assert attributes_of(span)["error.type"] == "not_counted"
