from __future__ import annotations

from pathlib import Path

from confluent_kafka import Producer

from tests.chaos.evidence import keep_labels
from tests.support.kafka import KafkaUnderTest, unique
from worker.configuration import load


def test_what_was_taken_back_is_told_from_what_was_not(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    topic = kafka.topic("labels")
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "transactional.id": unique("evidence")})
    producer.init_transactions(30)
    for number, keep in enumerate((True, False, True)):
        producer.begin_transaction()
        value = b'{"input":"tweets/0/%d","labelled_at":"2026-01-01T00:00:00Z"}' % number
        producer.produce(topic, None if number == 2 else value, b"k")
        producer.flush(30)
        if keep:
            producer.commit_transaction(30)
        else:
            producer.abort_transaction(30)
    settings = load(flags={"kafka.bootstrap_servers": kafka.bootstrap, "topics.labels": topic}, env={})
    rows = [line.split("\t") for line in keep_labels(settings, tmp_path).read_text().splitlines()]
    assert [(row[2], row[4], row[5:]) for row in rows] == [
        ("tweets/0/0", "k", ["1", "1"]),
        ("tweets/0/1", "k", ["0", "0"]),
        ("-", "k", ["1", "1"]),
    ]
