from __future__ import annotations

from pathlib import Path

from confluent_kafka import Producer

from tests.chaos.evidence import keep_files, keep_labels
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


def test_what_brokers_keep_of_labels_transactions_and_offsets_is_copied(tmp_path: Path) -> None:
    for partition in ("labels-0", "labels-1", "other-0", "__consumer_offsets-0", "__transaction_state-7"):
        (tmp_path / "data" / partition).mkdir(parents=True)
        (tmp_path / "data" / partition / "0.log").write_text(partition)
    (tmp_path / "data" / "meta.properties").write_text("no partition")
    kept = keep_files({"broker-1": tmp_path / "data"}, ["labels"], tmp_path / "evidence")
    found = {str(path.relative_to(kept)): path.read_text() for path in kept.rglob("*.log")}
    expected = ("labels-0", "labels-1", "__consumer_offsets-0", "__transaction_state-7")
    assert found == {f"broker-1/{name}/0.log": name for name in expected}
