"""A trace through a real Kafka: from who writes a post to who counts its label."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import msgspec
import pytest
from opentelemetry.trace import Tracer

from tests.support.collector import Collector, as_parent, attributes_of, traceparent
from tests.support.kafka import KafkaUnderTest, unique
from tests.support.models import WordModel
from tests.support.waiting import eventually
from worker import metrics as m
from worker.clock import SystemClock
from worker.dependency import Dependency
from worker.metrics import Metrics
from worker.settings import TopicSettings, TracingSettings, TrendsSettings, WorkerSettings
from worker.stream.batch import BatchBuilder
from worker.stream.kafka_publisher import KafkaPublisher
from worker.stream.kafka_source import KafkaSource
from worker.stream.loop import Loop
from worker.stream.meter import Meter
from worker.stream.outcome import Destination
from worker.stream.pace import Budget
from worker.stream.traces import traces_by
from worker.tracing.export import exporting
from worker.trends.count_traces import traces_by as count_traces_by
from worker.trends.live.feed import MemoryLiveFeed, Sampler
from worker.trends.live.hub import Hub
from worker.trends.loop import TrendsLoop
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.source import KafkaLabelSource
from worker.trends.store import Limits
from worker.types import OutRecord
from worker.web.health import Health

pytestmark = pytest.mark.timeout(180)
CLOCK = SystemClock()
POSTS = 50
TRACED = range(1, POSTS, 2)


@pytest.fixture
def topics(kafka: KafkaUnderTest) -> TopicSettings:
    """Posts of which every other brings a trace, and a record that is none and brings one too."""
    made = TopicSettings(
        inputs=(kafka.topic("tweets"),), labels=kafka.topic("labels"), dead_letters=kafka.topic("dead")
    )
    kafka.produce(
        made.inputs[0],
        [
            OutRecord(
                "",
                b"k",
                msgspec.json.encode({"id": number, "text": "joy"}) if number < POSTS else b"{",
                [("traceparent", traceparent(number)), ("tracestate", b"vendor=x")] if number % 2 else [],
            )
            for number in [*range(POSTS), POSTS + 1]
        ],
    )
    return made


def test_a_trace_goes_on_through_kafka(kafka: KafkaUnderTest, topics: TopicSettings) -> None:
    with Collector() as collector:
        with exporting_to(collector, "worker") as tracer:
            label(kafka, topics, tracer)
        with exporting_to(collector, "trends") as tracer:
            count(kafka, topics, tracer)

        traced = {span.trace_id.hex(): span for span in collector.spans("label")}
        assert traced.keys() == {f"{number + 1:032x}" for number in TRACED}
        batches = collector.spans("batch")
        assert sum(attributes_of(span)["moodstream.labels"] for span in batches) == POSTS
        assert sum(len(span.links) for span in batches) == len(TRACED) + 1

        headers = [dict(message.headers() or []) for message in kafka.read_all(topics.labels)]
        for number in range(POSTS):
            if number in TRACED:
                parent = as_parent(traced[f"{number + 1:032x}"]) + b"01"
                assert headers[number] == {"traceparent": parent, "tracestate": b"vendor=x"}
            else:
                assert headers[number] == {}
        [letter] = kafka.read_all(topics.dead_letters)
        assert dict(letter.headers() or [])["traceparent"] == traceparent(POSTS + 1)

        links = {link.span_id for span in collector.spans("count") for link in span.links}
        assert links == {span.span_id for span in traced.values()}


@contextmanager
def exporting_to(collector: Collector, service: str) -> Iterator[Tracer]:
    settings = TracingSettings(endpoint=collector.url)
    with exporting(settings, service=service, instance=None, metrics=Metrics(), flush_s=60) as tracer:
        yield tracer


def label(kafka: KafkaUnderTest, topics: TopicSettings, tracer: Tracer) -> None:
    """All of it, by the worker's loop."""
    metrics, health = Metrics(), Health(CLOCK, 60, ())
    worker = WorkerSettings(group_id=unique("worker"))
    source = KafkaSource(kafka.settings, worker, topics.inputs, clock=CLOCK, metrics=metrics, health=health)
    publisher = KafkaPublisher(
        kafka.settings,
        topics,
        worker,
        group_metadata=source.group_metadata,
        keep_waiting=lambda: True,
        clock=CLOCK,
        metrics=metrics,
    )
    loop = Loop(
        source=source,
        publisher=publisher,
        model=WordModel(),
        builder=BatchBuilder(max_records=20, pace=Budget(100_000), linger_s=0.05),
        destination=Destination(topics.labels, topics.dead_letters, "words@1", "0"),
        clock=CLOCK,
        meter=Meter(metrics, health),
        traces=traces_by(tracer, worker.group_id, CLOCK),
    )

    def done() -> bool:
        published = (
            metrics.registry.get_sample_value(
                m.PUBLISHED.exposed, {"topic": topics.inputs[0], "outcome": outcome}
            )
            for outcome in ("label", "dead_letter")
        )
        return sum(n or 0 for n in published) == POSTS + 1

    with ExitStack() as closing:
        closing.callback(source.close)
        loop.run(done, 60)


def count(kafka: KafkaUnderTest, topics: TopicSettings, tracer: Tracer) -> None:
    """All labels, by the trends loop, into memory."""
    metrics, health = Metrics(), Health(CLOCK, 60, ())
    source = KafkaLabelSource(
        kafka.settings,
        TrendsSettings(group_id=unique("trends")),
        topics.labels,
        dependency=Dependency("kafka", CLOCK, metrics, health),
        metrics=metrics,
    )
    loop = TrendsLoop(
        source,
        MemoryTrendStore(CLOCK, Limits(1e9)),
        feed=MemoryLiveFeed(Hub(CLOCK), Sampler(topics.labels, CLOCK)),
        topic=topics.labels,
        max_records=20,
        redis=Dependency("redis", CLOCK, metrics, health),
        clock=CLOCK,
        metrics=metrics,
        health=health,
        traces=count_traces_by(tracer, topics.labels, "trends", CLOCK),
    )

    def counted() -> bool:
        loop.run_once()
        applied = metrics.registry.get_sample_value(m.TRENDS_APPLIED.exposed, {"emotion": "joy"})
        return applied == POSTS

    try:
        eventually(counted, within_s=120, every_s=0)
    finally:
        source.close(30)
