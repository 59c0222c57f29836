"""A backlog, and a model that is slow, on a real Kafka: shares, order, and a group that is not left."""

from __future__ import annotations

import time
from collections import Counter, defaultdict
from collections.abc import Collection
from typing import Any

import msgspec

from tests.support.kafka import KafkaUnderTest, unique
from tests.support.models import WordModel
from worker import metrics as m
from worker.clock import SystemClock
from worker.metrics import Metrics
from worker.settings import TopicSettings, WorkerSettings
from worker.stream.batch import BatchBuilder
from worker.stream.fair import client_options, fair
from worker.stream.kafka_publisher import KafkaPublisher
from worker.stream.kafka_source import KafkaSource
from worker.stream.loop import Loop
from worker.stream.meter import Meter
from worker.stream.outcome import Destination
from worker.stream.pace import Budget
from worker.types import OutRecord, Record, TopicPartition
from worker.web.health import Health


def source_of(
    kafka: KafkaUnderTest, topics: tuple[str, ...], metrics: Metrics, settings: WorkerSettings
) -> KafkaSource:
    clock = SystemClock()
    return KafkaSource(
        kafka.settings,
        settings,
        topics,
        clock=clock,
        metrics=metrics,
        health=Health(clock, 60, ()),
        client_options=client_options(64) if len(topics) > 1 else None,
    )


def ignore(partitions: Collection[TopicPartition]) -> None:
    """Nobody takes a partition away here."""


def test_a_small_topic_has_its_share_of_a_backlog_and_nothing_is_lost(kafka: KafkaUnderTest) -> None:
    tweets, feedback = kafka.topic("tweets", partitions=4), kafka.topic("feedback", partitions=2)
    sent = {tweets: 40_000, feedback: 10_000}
    for topic, n in sent.items():
        kafka.produce(topic, (OutRecord("", b"%d" % i, b"%d " % i + b"x" * 200) for i in range(n)))
    client = source_of(kafka, (tweets, feedback), Metrics(), WorkerSettings(group_id=unique("group")))
    source = fair(client, {feedback: 4}, 64)
    taken: list[Record] = []
    try:
        source.open(ignore)
        deadline = time.monotonic() + 60
        while len(taken) < sum(sent.values()) and time.monotonic() < deadline:
            taken += source.take(500, 0.2)
            time.sleep(0.1 if len(taken) < 11_000 else 0)  # a worker that does 5,000 a second
    finally:
        source.close()
    first = Counter(record.topic for record in taken[3000:11_000])
    # Four in five, less what a busy machine fetches late; by partitions alone it would be one in three.
    assert 0.55 < first[feedback] / first.total() < 0.85
    assert Counter(record.topic for record in taken) == sent
    offsets: defaultdict[tuple[str, int], list[int]] = defaultdict(list)
    for record in taken:
        offsets[record.topic, record.partition].append(record.offset)
    assert all(found == list(range(len(found))) for found in offsets.values())


def test_what_comes_to_a_small_topic_does_not_wait_for_a_large_one(kafka: KafkaUnderTest) -> None:
    """Without weights it waits for all that the client has fetched: a hundred thousand tweets."""
    tweets, feedback = kafka.topic("tweets", partitions=4), kafka.topic("feedback")
    kafka.produce(tweets, (b"x" * 200 for _ in range(60_000)))
    client = source_of(kafka, (tweets, feedback), Metrics(), WorkerSettings(group_id=unique("group")))
    source = fair(client, {feedback: 4}, 64)
    try:
        source.open(ignore)
        before = between = 0
        while before < 5000:
            before += len(source.take(500, 0.2))
        kafka.produce(feedback, [b"me"])
        while feedback not in {record.topic for record in source.take(500, 0.2)}:
            between += 500
            assert between < 20_000
            time.sleep(0.05)  # a worker that does 10,000 a second
    finally:
        source.close()


class SlowModel(WordModel):
    """Its first answer takes long."""

    def __init__(self, first_s: float) -> None:
        super().__init__()
        self._first_s = first_s

    def classify(self, rows: Any) -> Any:
        if not self.calls:
            time.sleep(self._first_s)
        return super().classify(rows)


def test_a_model_slower_than_the_poll_interval_costs_no_rebalance(kafka: KafkaUnderTest) -> None:
    topic, labels = kafka.topic("tweets", partitions=2), kafka.topic("labels")
    kafka.produce(topic, (msgspec.json.encode({"id": i, "text": f"joy {i}"}) for i in range(2000)))
    metrics, clock = Metrics(), SystemClock()
    settings = WorkerSettings(
        group_id=unique("group"), session_timeout_ms=6000, max_poll_interval_ms=6000, queue_mb=1
    )
    source = source_of(kafka, (topic,), metrics, settings)
    publisher = KafkaPublisher(
        kafka.settings,
        TopicSettings(),
        settings,
        group_metadata=source.group_metadata,
        keep_waiting=lambda: True,
        clock=clock,
        metrics=metrics,
    )
    model = SlowModel(first_s=9.0)
    loop = Loop(
        source=source,
        publisher=publisher,
        model=model,
        builder=BatchBuilder(max_records=500, pace=Budget(1_000_000), linger_s=0.02),
        destination=Destination(labels, "dead", model.name, "0"),
        clock=clock,
        meter=Meter(metrics, Health(clock, 60, ())),
    )
    deadline = time.monotonic() + 60
    try:
        loop.run(lambda: len(model.calls) >= 4 or time.monotonic() > deadline, drain_s=20)
    finally:
        source.close()
    assert len(kafka.read_all(labels)) == 2000
    rebalances = metrics.counter(m.REBALANCES)
    assert rebalances.labels("assigned")._value.get() == 1
