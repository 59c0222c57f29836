"""Records that the worker cannot take, on a real Kafka: what becomes of them, and when it stops for them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from confluent_kafka import Producer
from kafka import KafkaProducer

from tests.support.kafka import KafkaUnderTest
from tests.support.pipeline import Pipeline
from tests.support.waiting import eventually
from worker.local.redis import RealRedis
from worker.types import OutRecord


@pytest.fixture
def pipeline(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(kafka, redis_server, tmp_path, MOODSTREAM_MODEL__BACKEND="null")
    yield made
    made.close()


def post(index: int) -> bytes:
    return msgspec.json.encode({"id": index, "text": "what a lovely day"})


class Unreadable(str):
    """A header's name as no client of ours writes it."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


def test_what_is_larger_or_stranger_than_allowed_leaves_and_the_rest_is_labelled(pipeline: Pipeline) -> None:
    """Unpacked, a compressed record may be many times what its topic takes."""
    huge = b"{" + b" " * 12_000_000
    packed = Producer(
        {
            "bootstrap.servers": pipeline.kafka.bootstrap,
            "compression.type": "gzip",
            "message.max.bytes": 20_000_000,
        }
    )
    packed.produce(pipeline.input, huge, b"huge", headers=[("trace", b"1")])
    packed.flush(30)
    odd = KafkaProducer(bootstrap_servers=pipeline.kafka.bootstrap)
    odd.send(pipeline.input, b"{", b"odd", headers=[(Unreadable("x"), b"1")]).get(10)
    odd.close()
    long_key = OutRecord("", b"k" * 100_000, post(1))
    pipeline.kafka.produce(pipeline.input, [long_key, OutRecord("", b"fine", post(2), [("trace", b"2")])])
    pipeline.worker.start()

    def answered() -> bool:
        labels, dead = pipeline.outcomes()
        return len(labels) == 1 and len(dead) == 3

    eventually(answered, within_s=60, every_s=0.3)
    found = {message.key(): message for message in pipeline.kafka.read_all(pipeline.dead)}
    facts = {key: dict(message.headers() or []) for key, message in found.items()}
    assert facts[b"odd"]["moodstream.error"] == b"invalid_json"
    assert facts[long_key.key]["moodstream.error"] == b"key_too_large"
    assert found[long_key.key].value() == long_key.value
    assert facts[b"huge"]["moodstream.cut"] == b"value"
    assert facts[b"huge"]["trace"] == b"1"
    assert huge.startswith(found[b"huge"].value() or b"?")


def test_garbage_stops_the_worker_where_a_limit_is_set(
    kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path
) -> None:
    limit = {"INPUT_RATIO": "0.5", "INPUT_COUNT": "50"}
    made = Pipeline(
        kafka,
        redis_server,
        tmp_path,
        MOODSTREAM_MODEL__BACKEND="null",
        **{f"MOODSTREAM_WORKER__DEAD_LETTERS__{name}": value for name, value in limit.items()},
    )
    try:
        kafka.produce(made.input, [post(index) for index in range(100)])
        made.worker.start()
        eventually(lambda: len(made.outcomes()[0]) == 100, within_s=60, every_s=0.3)
        kafka.produce(made.input, [b"{"] * 200)
        eventually(lambda: not made.worker.alive, within_s=30)
        assert made.worker.stop() == 4
        assert "cannot be read" in made.worker.log
        assert "worker.dead_letters.input_ratio" in made.worker.log
        assert len(made.outcomes()[1]) < 200
    finally:
        made.close()


def test_topics_that_take_too_little_end_the_worker_with_what_mends_it(
    kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path
) -> None:
    small = kafka.topic("labels", partitions=4, **{"max.message.bytes": "300"})
    made = Pipeline(
        kafka, redis_server, tmp_path, MOODSTREAM_MODEL__BACKEND="null", MOODSTREAM_TOPICS__LABELS=small
    )
    try:
        kafka.produce(made.input, [post(1)])
        made.worker.start()
        eventually(lambda: not made.worker.alive, within_s=30)
        assert made.worker.stop() == 3
        assert "moodstream topics check" in made.worker.log
    finally:
        made.close()
