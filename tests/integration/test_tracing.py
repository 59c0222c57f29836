"""A trace through the real roles on a real Kafka: from who writes a post to who counts its label."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from tests.support.collector import Collector, as_parent, attributes_of, traceparent
from tests.support.kafka import KafkaUnderTest
from tests.support.pipeline import Pipeline
from tests.support.waiting import eventually
from worker.local.redis import RealRedis
from worker.types import OutRecord

POSTS = 50
TRACED = range(1, POSTS, 2)


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as made:
        yield made


@pytest.fixture
def pipeline(
    kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path, collector: Collector
) -> Iterator[Pipeline]:
    traced = {
        "MOODSTREAM_TRACING__ENDPOINT": collector.url,
        "MOODSTREAM_TRACING__HEADERS": "authorization=Bearer%20planted",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    made = Pipeline(kafka, redis_server, tmp_path, **traced)
    yield made
    made.close()


def records() -> Iterator[OutRecord]:
    """Posts of which every other brings a trace, and a record that is none and brings one too."""
    for number in [*range(POSTS), POSTS + 1]:
        value = msgspec.json.encode({"id": number, "text": "what a lovely day"}) if number < POSTS else b"{"
        headers = [("traceparent", traceparent(number)), ("tracestate", b"vendor=x")]
        yield OutRecord("", b"k", value, [*headers] if number % 2 else [])


def labelled(collector: Collector) -> int:
    return sum(attributes_of(span)["moodstream.labels"] for span in collector.spans("batch"))


def test_a_trace_goes_on_through_kafka(pipeline: Pipeline, collector: Collector) -> None:
    pipeline.kafka.produce(pipeline.input, records())
    for role in (pipeline.worker, pipeline.trends):
        role.start()
    eventually(lambda: labelled(collector) == POSTS, within_s=90)
    eventually(lambda: sum(len(span.links) for span in collector.spans("count")) == len(TRACED), within_s=60)
    assert pipeline.worker.metric("moodstream_tracing_spans_total", outcome="exported") > 0
    for role in (pipeline.worker, pipeline.trends):
        assert role.stop() == 0
        assert "planted" not in role.log

    traced = {span.trace_id.hex(): span for span in collector.spans("label")}
    assert traced.keys() == {f"{number + 1:032x}" for number in TRACED}
    assert sum(len(span.links) for span in collector.spans("batch")) == len(TRACED) + 1

    headers = [dict(message.headers() or []) for message in pipeline.kafka.read_all(pipeline.labels)]
    for number in range(POSTS):
        if number in TRACED:
            parent = as_parent(traced[f"{number + 1:032x}"]) + b"01"
            assert headers[number] == {"traceparent": parent, "tracestate": b"vendor=x"}
        else:
            assert headers[number] == {}
    [letter] = pipeline.kafka.read_all(pipeline.dead)
    assert dict(letter.headers() or [])["traceparent"] == traceparent(POSTS + 1)

    counted = collector.spans("count")
    assert {link.span_id for span in counted for link in span.links} == {
        span.span_id for span in traced.values()
    }
    services = {resource["service.name"] for resource, _ in collector.resources()}
    assert services == {"moodstream-worker", "moodstream-trends"}
    assert {sent["authorization"] for _, sent, _ in collector.requests} == {"Bearer planted"}
