"""What the publisher does with each kind of error; tests/contract has the good way, on a real Kafka."""

from __future__ import annotations

import threading

import pytest
from confluent_kafka import KafkaError, KafkaException

from tests.support.producers import ABORTABLE, FATAL, FENCED, RETRIABLE, Cluster
from worker.clock import ManualClock
from worker.errors import DataLossAvertedError, DependencyError
from worker.metrics import Metrics
from worker.settings import KafkaSettings, TopicSettings, WorkerSettings
from worker.stream import kafka_publisher
from worker.stream.edges import AbortedError
from worker.stream.kafka_publisher import KafkaPublisher
from worker.types import OutRecord, TopicPartition

RECORDS = [OutRecord("labels", b"k", b"v")]
POSITIONS = {TopicPartition("tweets", 0): 1}
NEVER = KafkaException(KafkaError(KafkaError.UNSUPPORTED_VERSION, "too old", False, False, False))


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(kafka_publisher, "Producer", made.producer)
    return made


def publisher(
    instance_id: str | None = None, keep_waiting: bool = True, clock: ManualClock | None = None
) -> KafkaPublisher:
    return KafkaPublisher(
        KafkaSettings(),
        TopicSettings(),
        WorkerSettings(instance_id=instance_id),
        group_metadata=lambda: None,
        keep_waiting=lambda: keep_waiting,
        clock=clock or ManualClock(),
        metrics=Metrics(),
    )


def test_a_retriable_error_is_tried_again(cluster: Cluster) -> None:
    cluster.failures = {"init_transactions": [RETRIABLE, RETRIABLE], "commit_transaction": [RETRIABLE]}
    publisher().publish(RECORDS, POSITIONS)
    assert cluster.calls.count("init_transactions") == 3
    assert cluster.calls.count("commit_transaction") == 2
    assert "abort_transaction" not in cluster.calls


def test_waiting_ends_when_told(cluster: Cluster) -> None:
    cluster.failures = {"init_transactions": [RETRIABLE]}
    with pytest.raises(AbortedError, match="gave up"):
        publisher(keep_waiting=False).open()


def test_a_cluster_that_cannot_do_transactions_is_no_use(cluster: Cluster) -> None:
    cluster.failures = {"init_transactions": [NEVER]}
    with pytest.raises(DependencyError, match="too old"):
        publisher().publish(RECORDS, POSITIONS)


@pytest.mark.parametrize("step", ["send_offsets_to_transaction", "commit_transaction"])
def test_an_abortable_error_aborts_and_the_producer_goes_on(cluster: Cluster, step: str) -> None:
    cluster.failures = {step: [ABORTABLE]}
    publishing = publisher()
    with pytest.raises(AbortedError, match="moved on"):
        publishing.publish(RECORDS, POSITIONS)
    assert cluster.calls[-1] == "abort_transaction"
    publishing.publish(RECORDS, POSITIONS)
    assert cluster.calls.count("new") == 1


def test_after_a_fatal_error_comes_a_new_producer(cluster: Cluster) -> None:
    cluster.failures = {"commit_transaction": [FATAL]}
    publishing = publisher()
    with pytest.raises(AbortedError, match="over"):
        publishing.publish(RECORDS, POSITIONS)
    publishing.publish(RECORDS, POSITIONS)
    assert cluster.calls.count("new") == cluster.calls.count("init_transactions") == 2


def test_a_name_used_twice_stops_the_worker(cluster: Cluster) -> None:
    cluster.failures = {"commit_transaction": [FENCED, FENCED]}
    publishing = publisher(instance_id="worker-0")
    with pytest.raises(AbortedError):
        publishing.publish(RECORDS, POSITIONS)
    with pytest.raises(DataLossAvertedError, match="instance_id"):
        publishing.publish(RECORDS, POSITIONS)


def test_to_be_fenced_now_and_then_is_forgiven(cluster: Cluster) -> None:
    cluster.failures = {"commit_transaction": [FENCED, FENCED, FENCED]}
    clock = ManualClock()
    publishing = publisher(instance_id="worker-0", clock=clock)
    for _ in range(3):
        with pytest.raises(AbortedError):
            publishing.publish(RECORDS, POSITIONS)
        clock.sleep(61)
    publishing.publish(RECORDS, POSITIONS)


def test_a_transaction_that_was_open_for_too_long_is_no_second_worker(cluster: Cluster) -> None:
    """The broker aborts it and fences its producer, with the same error."""
    clock = ManualClock()

    def stuck() -> None:
        clock.sleep(WorkerSettings().transaction_timeout_ms / 1000)
        raise FENCED

    cluster.failures = {"commit_transaction": [stuck]}
    publishing = publisher(instance_id="worker-0", clock=clock)
    with pytest.raises(AbortedError, match="another"):
        publishing.publish(RECORDS, POSITIONS)
    publishing.publish(RECORDS, POSITIONS)
    assert cluster.calls.count("new") == cluster.calls.count("init_transactions") == 2


def test_a_call_that_hangs_is_left_behind(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """librdkafka's issue 5456: the time-out given is not kept."""
    monkeypatch.setattr(kafka_publisher, "_HANGS_S", 0.05)
    freed = threading.Event()
    cluster.failures = {"send_offsets_to_transaction": [lambda: freed.wait(30)]}
    publishing = publisher()
    try:
        with pytest.raises(AbortedError, match="in time"):
            publishing.publish(RECORDS, POSITIONS)
        publishing.publish(RECORDS, POSITIONS)
        assert cluster.calls.count("new") == 2
    finally:
        freed.set()


def test_a_full_queue_is_waited_for(cluster: Cluster) -> None:
    cluster.failures = {"produce": [BufferError(), BufferError()]}
    publisher().publish(RECORDS, POSITIONS)
    assert cluster.calls.count("produce") == 3


FORBIDDEN = KafkaError(KafkaError.TOPIC_AUTHORIZATION_FAILED, "Topic authorization failed")


def test_an_output_that_may_not_be_written_is_told_at_the_start(cluster: Cluster) -> None:
    cluster.unwritable = {"emotion-dead-letters": FORBIDDEN}
    with pytest.raises(DependencyError, match=r"emotion-dead-letters.*lacks an ACL"):
        publisher().open()


def test_or_when_it_is_forbidden_later(cluster: Cluster) -> None:
    cluster.failures = {"produce": [KafkaException(FORBIDDEN)]}
    with pytest.raises(DependencyError, match=r"emotion-labels or emotion-dead-letters.*lacks an ACL"):
        publisher().publish(RECORDS, POSITIONS)
    assert cluster.calls[-1] == "abort_transaction"
