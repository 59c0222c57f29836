from __future__ import annotations

from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from tests.chaos.trace import trace
from tests.support.kafka import create_topic
from worker.local.kafka import RealKafka


def test_what_transactions_of_a_real_broker_left_behind(own_kafka: RealKafka) -> None:
    """The first is aborted and done again by a successor; the second is left open."""
    bootstrap = own_kafka.bootstrap
    create_topic(bootstrap, "labels", partitions=2)
    create_topic(bootstrap, "tweets", partitions=4)
    consumer = Consumer({"bootstrap.servers": bootstrap, "group.id": "workers"})
    metadata = consumer.consumer_group_metadata()

    def transaction(producer: Producer, ref: str, partition: int, offset: int) -> None:
        producer.begin_transaction()
        producer.produce("labels", b'{"input":"%s"}' % ref.encode(), b"key", partition=partition)
        producer.produce("labels", None, b"key", partition=partition)
        assert producer.flush(30) == 0
        producer.send_offsets_to_transaction([TopicPartition("tweets", 3, offset)], metadata, 30)

    for name in ("first", "second"):
        producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": name})
        producer.init_transactions(30)
        transaction(producer, "tweets/3/7", 0, 8)
        if name == "first":
            producer.abort_transaction(30)
        else:
            producer.commit_transaction(30)
    transaction(producer, "tweets/3/8", 1, 9)
    consumer.close()
    data = Path(own_kafka.properties["log.dirs"])

    told = list(trace(data, ["tweets/3/7", "tweets/3/9"], labels="labels"))
    labels = [(one.ref, one.entry.partition, one.end) for one in told if one.what == "label"]
    assert labels == [("tweets/3/7", "labels-0", "abort"), ("tweets/3/7", "labels-0", "commit")]
    offsets = [(one.ref, one.what, one.end) for one in told if one.what != "label"]
    assert offsets == [
        ("tweets/3/7", "offset 8 of workers", "abort"),
        ("tweets/3/7", "offset 8 of workers", "commit"),
        ("tweets/3/7", "offset 9 of workers", "open"),
    ]
    producers = {one.end: one.entry.producer for one in told}
    assert producers["abort"] != producers["commit"] == producers["open"]
    left = [(one.what, one.end) for one in trace(data, ["tweets/3/8"], labels="labels")]
    assert left == [("offset 9 of workers", "open"), ("label", "open")]
