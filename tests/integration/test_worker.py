"""The worker role as a process, on a real Kafka: bad input, outages, signals, rebalancing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.support.kafka import KafkaUnderTest, unique
from tests.support.pipeline import Pipeline
from tests.support.roles import RoleProcess
from tests.support.traffic import Traffic
from tests.support.waiting import eventually
from worker.clock import SystemClock
from worker.errors import DataLossAvertedError
from worker.local.kafka import RealKafka
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.settings import WorkerSettings
from worker.stream.kafka_source import KafkaSource
from worker.types import OutRecord
from worker.web.health import Health


@pytest.fixture
def pipeline(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(kafka, redis_server, tmp_path)
    yield made
    made.close()


@pytest.fixture
def quick(
    kafka: KafkaUnderTest, redis_server: RealRedis, small_model: Path, tmp_path: Path
) -> Iterator[Pipeline]:
    """The same with a model that takes no time."""
    made = Pipeline(kafka, redis_server, tmp_path, MOODSTREAM_MODEL__PATH=str(small_model))
    yield made
    made.close()


def post(index: int, text: str = "what a lovely day") -> bytes:
    return msgspec.json.encode({"id": index, "text": text})


def to_send(texts: Sequence[str], index: int) -> OutRecord:
    return OutRecord("", b"%d" % index, post(index, texts[index % len(texts)]))


def answered(pipeline: Pipeline) -> int:
    labels, dead = pipeline.outcomes()
    return len(labels) + len(dead)


BAD = {
    "invalid_utf8": b'{"id":1,"text":"\xff"}',
    "invalid_json": b'{"id":1,',
    "missing_text": b'{"id":1}',
    "missing_id": b'{"text":"x"}',
    "empty_text": b'{"id":1,"text":"  "}',
    "wrong_type": b'{"id":1,"text":7}',
    "invalid_time": b'{"id":1,"text":"x","created_at":"soon"}',
}
GOOD = {
    "a 1 MB text": post(1, "sad " * 250_000),
    "a 10,000-token text": post(2, "happy " * 10_000),
    "unknown fields": b'{"id":3,"text":"i love it","likes":5,"user":{"name":"x"}}',
    "a duplicate id": post(3),
    "a string id": b'{"id":"three","text":"oh no"}',
    "control characters": post(4, "\u0000\u0007\u200d\ufffd"),
}


def test_bad_input_neither_stops_the_stream_nor_is_lost(pipeline: Pipeline) -> None:
    values = [*BAD.values(), *GOOD.values()]
    pipeline.kafka.produce(pipeline.input, [OutRecord("", b"k", value) for value in values])
    pipeline.kafka.produce(pipeline.input, [OutRecord("", b"gone", None)])
    pipeline.worker.start()
    eventually(lambda: answered(pipeline) == len(values), within_s=60, every_s=0.3)

    dead = pipeline.kafka.read_all(pipeline.dead)
    found = {dict(message.headers() or [])["moodstream.error"]: message.value() for message in dead}
    assert found == {kind.encode(): value for kind, value in BAD.items()}
    labels = pipeline.kafka.read_all(pipeline.labels)
    tombstones = [message.key() for message in labels if message.value() is None]
    assert tombstones == [b"gone"]
    assert len(labels) == len(GOOD) + 1
    assert pipeline.worker.metric("moodstream_texts_truncated_total") == 2
    assert "sad sad" not in pipeline.worker.log


def test_kafka_away_at_the_start_and_in_between(
    own_kafka: RealKafka, redis_server: RealRedis, small_model: Path, tmp_path: Path
) -> None:
    kafka = KafkaUnderTest(own_kafka.bootstrap)
    pipeline = Pipeline(kafka, redis_server, tmp_path, MOODSTREAM_MODEL__PATH=str(small_model))
    try:
        kafka.produce(pipeline.input, [post(index) for index in range(500)])
        own_kafka.kill()
        pipeline.worker.start()
        eventually(lambda: pipeline.worker.metric("moodstream_dependency_retries_total") > 0, within_s=30)
        assert pipeline.worker.live()
        readiness = pipeline.worker.get("/readyz")
        assert readiness.status_code == 503
        assert '"kafka":false' in readiness.text.replace(" ", "")

        own_kafka.restart()
        eventually(pipeline.worker.ready, within_s=60)
        eventually(lambda: answered(pipeline) == 500, within_s=60, every_s=0.5)

        own_kafka.kill()
        eventually(lambda: not pipeline.worker.ready(), within_s=60)
        own_kafka.restart()
        kafka.produce(pipeline.input, [post(index) for index in range(500, 1000)])
        eventually(lambda: answered(pipeline) >= 1000, within_s=60, every_s=0.5)
        labels, _ = pipeline.outcomes()
        assert max(Counter(label.input for label in labels).values()) == 1
        assert {label.id for label in labels} == set(range(1000))
    finally:
        pipeline.close()


def test_sigterm_finishes_commits_and_ends_with_zero(quick: Pipeline, posts: list[str]) -> None:
    with Traffic(quick.kafka, quick.input, partial(to_send, posts), per_s=500) as traffic:
        quick.worker.start()
        eventually(lambda: quick.worker.metric("moodstream_labels_total") > 0, within_s=60)
        assert quick.worker.stop() == 0
        assert "finished and committed" in quick.worker.log
        assert answered(quick) > 0
        quick.worker.start()
    eventually(quick.caught_up, within_s=60, every_s=0.5)
    labels, _ = quick.outcomes()
    assert Counter(label.id for label in labels) == Counter(range(traffic.sent))


def test_a_second_signal_ends_at_once(own_kafka: RealKafka, redis_server: RealRedis, tmp_path: Path) -> None:
    pipeline = Pipeline(KafkaUnderTest(own_kafka.bootstrap), redis_server, tmp_path)
    own_kafka.kill()
    pipeline.worker.start()
    child = pipeline.worker._child._child
    assert child is not None
    try:
        child.send_signal(signal.SIGTERM)
        eventually(lambda: "finishing within" in pipeline.worker.log, within_s=10)
        assert child.poll() is None
        child.send_signal(signal.SIGTERM)
        assert child.wait(5) == 130
    finally:
        pipeline.close()


def test_wrong_settings_are_all_named_at_once() -> None:
    environment = {
        **os.environ,
        "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": "nowhere",
        "MOODSTREAM_WORKER__HTP__PORT": "1",
    }
    ended = subprocess.run(
        [sys.executable, "-m", "worker", "worker", "--set", "batch.max_records=0"],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 2
    for part in ("bootstrap_servers", "kafka-1:9092", "did you mean worker.http.port", "batch.max_records"):
        assert part in ended.stderr
    assert "Traceback" not in ended.stderr


def test_workers_come_and_go_and_nothing_is_doubled(
    quick: Pipeline, posts: list[str], tmp_path: Path
) -> None:
    """Cooperative rebalancing in both directions, while posts arrive."""
    first, second = quick.worker, RoleProcess("worker", tmp_path / "second.log", quick.environment)
    try:
        with Traffic(quick.kafka, quick.input, partial(to_send, posts), per_s=300) as traffic:
            first.start()
            eventually(lambda: first.metric("moodstream_labels_total") > 0, within_s=60)
            second.start()
            eventually(lambda: second.metric("moodstream_assigned_partitions") == 2, within_s=60)
            assert first.metric("moodstream_assigned_partitions") == 2
            eventually(lambda: second.metric("moodstream_labels_total") > 0, within_s=60)
            assert first.stop() == 0
            eventually(lambda: second.metric("moodstream_assigned_partitions") == 4, within_s=60)
        eventually(quick.caught_up, within_s=60, every_s=0.5)
    finally:
        second.kill()
    labels, _ = quick.outcomes()
    assert Counter(label.id for label in labels) == Counter(range(traffic.sent))


@pytest.mark.slow
def test_two_workers_of_one_name_do_not_go_on_side_by_side(kafka: KafkaUnderTest) -> None:
    """As when a hung worker wakes beside its successor; librdkafka does not recover from being fenced."""
    topic = kafka.topic("tweets")
    settings = WorkerSettings(group_id=unique("worker"), instance_id="worker-0", session_timeout_ms=6000)

    def source() -> KafkaSource:
        clock = SystemClock()
        health = Health(clock, 60, ("assignment", "kafka"))
        made = KafkaSource(kafka.settings, settings, (topic,), clock=clock, metrics=Metrics(), health=health)
        made.open(lambda _: None)
        return made

    kafka.produce(topic, [post(1)])
    first = source()
    eventually(lambda: first.take(10, 0.2), within_s=30)
    second = source()

    def one_ended() -> bool:
        try:
            first.take(10, 0.2)
            second.take(10, 0.2)
        except DataLossAvertedError:
            return True
        return False

    eventually(one_ended, within_s=50)
    for reading in (first, second):
        reading.close()
