"""The sender and the reader of the demo against the mock broker, without a worker in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, datetime

import msgspec
import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from tests.support.waiting import eventually
from worker.clock import SystemClock
from worker.demo.posts import samples
from worker.demo.reader import Reader
from worker.demo.records import Kind, RecordMaker
from worker.demo.sender import Sender
from worker.demo.tally import Tally
from worker.demo.traffic import Traffic
from worker.local.broker import PARTITIONS, mock_broker
from worker.settings import TopicSettings
from worker.types import Label, Scores

TOPICS = TopicSettings()


@pytest.fixture
def bootstrap() -> Iterator[str]:
    with mock_broker(*TOPICS.inputs, TOPICS.labels, TOPICS.dead_letters) as address:
        yield address


def traffic(bootstrap: str, tally: Tally, rate: float) -> Traffic:
    clock = SystemClock()
    reader = Reader(bootstrap, TOPICS, tally, clock)
    return Traffic(Sender(bootstrap, RecordMaker(samples()), tally, rate, clock), reader)


def test_the_rate_is_kept_and_every_record_arrives(bootstrap: str) -> None:
    tally = Tally()
    with traffic(bootstrap, tally, rate=200) as running:
        time.sleep(1.5)
        running.stop_sending()
        sent = tally.waiting
        time.sleep(0.1)
        running.check()
        assert tally.waiting == sent

    assert sent == pytest.approx(300, abs=40)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "test"})
    consumer.assign([TopicPartition(topic, n, 0) for topic in TOPICS.inputs for n in range(PARTITIONS)])
    found = 0
    deadline = time.monotonic() + 10
    while found < sent and time.monotonic() < deadline:
        found += len(consumer.consume(500, 0.2))
    consumer.close()
    assert found == sent


def test_the_past_comes_first_and_is_in_no_figure_but_the_trends(bootstrap: str) -> None:
    tally, clock = Tally(), SystemClock()
    maker = RecordMaker(samples())
    sender = Sender(bootstrap, maker, tally, 10, clock, past_minutes=30)
    while tally.waiting < 600:
        sender.send_due()
    assert tally.totals().taken == 0
    answered = {key for key, deletion in tally._waiting if not deletion}
    for key in answered:
        tally.label(key, msgspec.json.decode(label("hello"), type=Label), clock.monotonic())
    for key, _ in list(tally._waiting):
        tally.tombstone(key)
    sender.send_due()
    assert sender.live  # only now: what came before is answered
    totals = tally.totals()
    assert (totals.taken, totals.labelled, totals.rows, totals.unexpected) == (0, 0, (), 0)
    assert sum(tally.counts().values()) == len(answered)
    time.sleep(0.3)
    sender.send_due()
    assert tally.totals().taken > 0
    sender.close()


def test_more_than_can_be_answered_is_held_back(bootstrap: str) -> None:
    tally = Tally()
    with traffic(bootstrap, tally, rate=10_000) as running:
        eventually(lambda: tally.waiting == 2000)
        time.sleep(0.2)
        running.check()
        assert tally.waiting == 2000


def test_answers_are_entered(bootstrap: str) -> None:
    tally = Tally()
    clock = SystemClock()
    maker = RecordMaker(samples())
    made = [maker.make(clock.time()) for _ in range(600)]
    for one in made:
        tally.sent(one, clock.monotonic())
    producer = Producer({"bootstrap.servers": bootstrap})
    for one in made:
        if one.kind is Kind.MALFORMED:
            headers: dict[str, str | bytes | None] = {"moodstream.error": one.text.encode()}
            producer.produce(TOPICS.dead_letters, key=one.key, value=one.value, headers=headers)
        else:
            value = None if one.kind is Kind.DELETION else label(one.text)
            producer.produce(TOPICS.labels, key=one.key, value=value)
    producer.flush(10)
    reader = Reader(bootstrap, TOPICS, tally, clock)

    def all_entered() -> bool:
        reader.take(0.1)
        return not tally.waiting

    eventually(all_entered)
    reader.close()
    totals = tally.totals()

    assert totals.unexpected == 0
    assert totals.dead == sum(one.kind is Kind.MALFORMED for one in made) > 0
    assert totals.deletions == sum(one.kind is Kind.DELETION for one in made) > 0
    assert totals.labelled + totals.dead == totals.taken


def test_what_the_thread_dies_of_is_raised(bootstrap: str) -> None:
    with traffic(bootstrap, Tally(), rate=10) as running:
        producer = Producer({"bootstrap.servers": bootstrap})
        producer.produce(TOPICS.labels, key=b"k", value=b"no label")
        producer.flush(5)
        with pytest.raises(msgspec.MsgspecError):
            eventually(running.check)
        running.stop_sending()  # does not wait for a thread that is gone


def label(text: str) -> bytes:
    now = datetime.now(UTC)
    return msgspec.json.encode(
        Label(
            id=text[:10],
            source="web",
            label="joy",
            score=0.9,
            scores=Scores(0.02, 0.9, 0.02, 0.02, 0.02, 0.02),
            neutral=0.0,
            model="test@1",
            created_at=now,
            labelled_at=now,
            input="tweets/0/0",
        )
    )
