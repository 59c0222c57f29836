"""What a replay reads from a real Kafka: ranges by time and offset, every compression, transactions."""

from __future__ import annotations

import time
from collections.abc import Sequence

import pytest
from confluent_kafka import Producer

from tests.support.kafka import KafkaUnderTest, unique
from worker.clock import SystemClock
from worker.errors import ConfigurationError, DependencyError
from worker.replay.history.bounds import Bound
from worker.replay.history.ranges import Range, find_ranges, topic_id
from worker.replay.history.reader import GROUP, RangeReader
from worker.topics.connect import connected
from worker.types import Record

HOUR_MS = 3_600_000
NOON_MS = 1_767_268_800_000
BEGINNING, END = Bound("beginning"), Bound("end")


def put(kafka: KafkaUnderTest, topic: str, partition: int, *hours: float, **config: str) -> None:
    """A record an hour of `hours` after noon of 2026-01-01, by Kafka's clock."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True, **config})
    for hour in hours:
        producer.produce(topic, b"at %g" % hour, partition=partition, timestamp=NOON_MS + int(hour * HOUR_MS))
    assert producer.flush(20) == 0


def read(kafka: KafkaUnderTest, topic: str, ranges: Sequence[Range]) -> list[Record]:
    """All records of some ranges, each partition's in order; and that the reader says how far it came."""
    reader = RangeReader(kafka.settings, topic, ranges, SystemClock())
    records: list[Record] = []
    reached: dict[int, int] = {}
    try:
        for part in reader:
            records += part.records
            reached |= part.reached
    finally:
        reader.close()
    assert reached == {one.partition: one.end for one in ranges if one.offsets}
    return sorted(records, key=lambda record: (record.partition, record.offset))


@pytest.fixture(scope="module")
def hours(kafka: KafkaUnderTest) -> str:
    """Two partitions with a record an hour, the second's half an hour later; a third is empty."""
    topic = kafka.topic("hours", partitions=3, **{"retention.ms": "-1"})
    put(kafka, topic, 0, *range(10))
    put(kafka, topic, 1, *(hour + 0.5 for hour in range(10)))
    return topic


def found(kafka: KafkaUnderTest, topic: str, start: Bound, end: Bound, *partitions: int) -> list[Range]:
    return find_ranges(kafka.settings, topic, start, end, partitions).ranges


def at(hour: float) -> Bound:
    return Bound("time", NOON_MS + int(hour * HOUR_MS))


def test_a_range_by_time_begins_at_the_first_record_of_each_partition(
    kafka: KafkaUnderTest, hours: str
) -> None:
    assert found(kafka, hours, at(2), at(5)) == [Range(0, 2, 5), Range(1, 2, 5), Range(2, 0, 0)]
    assert found(kafka, hours, at(2.1), at(5.6)) == [Range(0, 3, 6), Range(1, 2, 6), Range(2, 0, 0)]
    assert found(kafka, hours, at(-5), at(99)) == [Range(0, 0, 10), Range(1, 0, 10), Range(2, 0, 0)]
    assert found(kafka, hours, at(9.2), END) == [Range(0, 10, 10), Range(1, 9, 10), Range(2, 0, 0)]


def test_a_range_by_offset_stays_within_the_log(kafka: KafkaUnderTest, hours: str) -> None:
    assert found(kafka, hours, Bound("offset", 7), Bound("offset", 99), 0) == [Range(0, 7, 10)]
    assert found(kafka, hours, BEGINNING, Bound("offset", 2), 1) == [Range(1, 0, 2)]


def test_what_cannot_be_read_says_what_there_is(kafka: KafkaUnderTest, hours: str) -> None:
    with pytest.raises(ConfigurationError, match=f"there is no topic nowhere; there are: .*{hours}"):
        found(kafka, "nowhere", BEGINNING, END)
    with pytest.raises(ConfigurationError, match=f"{hours} has no partition 3; it has 0 to 2"):
        found(kafka, hours, BEGINNING, END, 0, 3)
    with pytest.raises(ConfigurationError) as empty:
        found(kafka, hours, at(30), END)
    assert str(empty.value) == (
        f"{hours}: no record in this range; it holds offsets 0 to 9, written 2026-01-01T12:00:00+00:00"
        " to 2026-01-01T21:30:00+00:00"
    )
    with pytest.raises(ConfigurationError, match="no record in this range; it is empty"):
        found(kafka, hours, BEGINNING, END, 2)


def test_exactly_the_range_is_read(kafka: KafkaUnderTest, hours: str) -> None:
    records = read(kafka, hours, found(kafka, hours, at(2), at(5)))
    assert [(one.partition, one.offset) for one in records] == [(p, o) for p in (0, 1) for o in (2, 3, 4)]
    assert [one.value for one in records[:3]] == [b"at 2", b"at 3", b"at 4"]
    assert records[0].timestamp_ms == NOON_MS + 2 * HOUR_MS


def test_more_partitions_than_are_read_at_once(kafka: KafkaUnderTest) -> None:
    topic = kafka.topic("wide", partitions=11, **{"retention.ms": "-1"})
    for partition in range(11):
        put(kafka, topic, partition, *range(partition))
    records = read(kafka, topic, found(kafka, topic, BEGINNING, END))
    assert [(one.partition, one.offset) for one in records] == [(p, o) for p in range(11) for o in range(p)]


@pytest.mark.parametrize("codec", ["gzip", "snappy", "lz4", "zstd"])
def test_topics_of_every_compression(kafka: KafkaUnderTest, codec: str) -> None:
    topic = kafka.topic("compressed", partitions=1, **{"retention.ms": "-1"})
    put(kafka, topic, 0, *range(500), **{"compression.type": codec, "linger.ms": "50"})
    assert len(read(kafka, topic, found(kafka, topic, BEGINNING, END))) == 500


def test_what_a_transaction_took_back_is_not_read_and_its_marks_hold_nothing_up(
    kafka: KafkaUnderTest,
) -> None:
    topic = kafka.topic("transactions")
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique("txn")})
    producer.init_transactions(20)
    for number, kept in enumerate((True, False, True)):
        producer.begin_transaction()
        for _ in range(3):
            producer.produce(topic, b"%d" % number)
        producer.flush(10)
        (producer.commit_transaction if kept else producer.abort_transaction)()
    [range_] = found(kafka, topic, BEGINNING, END)
    assert range_ == Range(0, 0, 12)  # three records and a mark of each
    start = time.monotonic()
    assert [one.value for one in read(kafka, topic, [range_])] == [b"0"] * 3 + [b"2"] * 3
    # A range that ends behind a mark, within the log.
    assert [one.value for one in read(kafka, topic, [Range(0, 0, 4)])] == [b"0"] * 3
    assert [one.value for one in read(kafka, topic, [Range(0, 3, 9)])] == [b"2"]
    assert time.monotonic() - start < 20


def test_an_open_transaction_is_the_end(kafka: KafkaUnderTest) -> None:
    topic = kafka.topic("open", partitions=1, **{"retention.ms": "-1"})
    put(kafka, topic, 0, 1, 2)
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique("txn")})
    producer.init_transactions(20)
    producer.begin_transaction()
    producer.produce(topic, b"not yet")
    producer.flush(10)
    assert found(kafka, topic, BEGINNING, END) == [Range(0, 0, 2)]
    producer.abort_transaction(20)


def test_records_that_are_gone_are_an_error(kafka: KafkaUnderTest) -> None:
    topic = kafka.topic("short", partitions=1, **{"retention.ms": "-1"})
    put(kafka, topic, 0, *range(10))
    with connected(kafka.settings) as admin:
        from kafka import TopicPartition

        admin.delete_records({TopicPartition(topic, 0): 5})
    assert found(kafka, topic, BEGINNING, END) == [Range(0, 5, 10)]
    with pytest.raises(DependencyError, match=f"{topic}/0 at offset 2: its records are gone"):
        read(kafka, topic, [Range(0, 2, 10)])


def test_a_topic_made_anew_has_another_id(kafka: KafkaUnderTest, hours: str) -> None:
    with connected(kafka.settings) as admin:
        before = topic_id(kafka.settings, hours)
        assert before == topic_id(kafka.settings, hours)
        assert before != topic_id(kafka.settings, kafka.topic("other"))
        # And nobody has joined a group for all of this.
        assert GROUP not in {group["group_id"] for group in admin.list_groups()}
