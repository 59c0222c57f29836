"""What the source keeps between a heartbeat and the next take; the rest is in tests/contract, on a Kafka."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka import TopicPartition as KafkaTopicPartition

from worker.clock import ManualClock
from worker.errors import DataLossAvertedError
from worker.metrics import Metrics
from worker.settings import KafkaSettings, WorkerSettings
from worker.stream import kafka_source
from worker.stream.edges import AbortedError
from worker.stream.kafka_source import KafkaSource
from worker.types import TopicPartition
from worker.web.health import Health


class Message:
    def __init__(self, partition: int, offset: int) -> None:
        self.at = partition, offset

    def topic(self) -> str:
        return "tweets"

    def partition(self) -> int:
        return self.at[0]

    def offset(self) -> int:
        return self.at[1]

    def timestamp(self) -> tuple[int, int]:
        return 1, 0

    def nothing(self) -> None:
        """No key, value, headers or error."""

    key = value = headers = error = nothing


class Cluster:
    """Stands for the client: what it brings next, and when it takes partitions away."""

    def __init__(self) -> None:
        self.coming: list[Message] = []
        self.revoke: list[int] = []
        self.revoke_behind: list[int] = []
        """Revoked in the same call as records, which had been taken before."""
        self.owned = [0, 1]
        self.calls: list[tuple[str, Any]] = []
        self.callbacks: dict[str, Any] = {}

    def __call__(self, _configuration: dict[str, Any], **_: Any) -> Cluster:
        return self

    def subscribe(self, _topics: list[str], **callbacks: Any) -> None:
        self.callbacks = callbacks

    def consume(self, limit: int, _timeout_s: float) -> list[Message]:
        if self.revoke:
            gone = [KafkaTopicPartition("tweets", number) for number in self.revoke]
            self.revoke = []
            self.callbacks["on_revoke"](self, gone)
        some, self.coming = self.coming[:limit], self.coming[limit:]
        if self.revoke_behind:
            gone = [KafkaTopicPartition("tweets", number) for number in self.revoke_behind]
            self.revoke_behind = []
            self.callbacks["on_revoke"](self, gone)
        return some

    def assignment(self) -> list[KafkaTopicPartition]:
        return [KafkaTopicPartition("tweets", number) for number in self.owned]

    def committed(self, partitions: list[KafkaTopicPartition], _s: float) -> list[KafkaTopicPartition]:
        return partitions

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.calls.append((name, *arguments))

    def called(self, name: str) -> int:
        return sum(call[0] == name for call in self.calls)


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Cluster()
    monkeypatch.setattr(kafka_source, "Consumer", made)
    return made


@pytest.fixture
def source(cluster: Cluster) -> KafkaSource:
    clock = ManualClock()
    made = KafkaSource(
        KafkaSettings(),
        WorkerSettings(),
        ("tweets",),
        clock=clock,
        metrics=Metrics(),
        health=Health(clock, 60, ()),
    )
    made.open(lambda _: None)
    cluster.callbacks["on_assign"](cluster, cluster.assignment())
    return made


def offsets(source: KafkaSource, limit: int = 100) -> list[tuple[int, int]]:
    return [(record.partition, record.offset) for record in source.take(limit, 0.1)]


def test_what_a_heartbeat_took_comes_first(cluster: Cluster, source: KafkaSource) -> None:
    cluster.coming = [Message(0, offset) for offset in range(5)]
    source.heartbeat()
    source.heartbeat()
    assert offsets(source, limit=3) == [(0, 0), (0, 1), (0, 2)]
    assert offsets(source) == [(0, 3), (0, 4)]
    assert cluster.called("pause") == 0


@pytest.mark.parametrize("by", ["heartbeat", "take"])
def test_a_partition_revoked_within_a_call_leaves_nothing_behind(
    cluster: Cluster, source: KafkaSource, by: str
) -> None:
    """Its new owner reads these: to label them here would be to label them twice."""
    cluster.coming = [Message(0, 0), Message(1, 0)]
    source.heartbeat()
    source.heartbeat()
    cluster.revoke = [0]
    if by == "heartbeat":
        source.heartbeat()
    assert offsets(source) == [(1, 0)]


@pytest.mark.parametrize("by", ["heartbeat", "take"])
def test_records_taken_in_the_call_in_which_their_partition_goes_are_not_ours(
    cluster: Cluster, source: KafkaSource, by: str
) -> None:
    """The client hands out what it had collected when the revocation came."""
    cluster.coming = [Message(0, 0), Message(1, 0), Message(0, 1)]
    cluster.owned, cluster.revoke_behind = [1], [0]
    if by == "heartbeat":
        source.heartbeat()
        assert offsets(source) == [(1, 0), (0, 1)], "only what came in that call is meant"
    else:
        assert offsets(source) == [(1, 0)]


def test_a_partition_that_goes_and_comes_within_a_call_is_read_again(
    cluster: Cluster, source: KafkaSource
) -> None:
    forgotten: list[set[TopicPartition]] = []
    source.open(lambda partitions: forgotten.append(set(partitions)))
    cluster.coming = [Message(0, 0), Message(1, 0)]
    cluster.revoke_behind = [0]
    assert offsets(source) == []
    assert forgotten[-1] == {TopicPartition("tweets", 0), TopicPartition("tweets", 1)}
    cluster.coming = [Message(0, 0), Message(1, 0)]
    assert offsets(source) == [(0, 0), (1, 0)]
    assert cluster.called("seek") == 2


def test_a_committed_offset_that_is_not_known_is_asked_for_again(
    cluster: Cluster, source: KafkaSource, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is not the beginning: to go there would be to label everything once more."""
    answers = [KafkaTopicPartition("tweets", number) for number in range(2)]
    unknown = SimpleNamespace(topic="tweets", partition=0, offset=-1001, error=KafkaError(88))
    monkeypatch.setattr(cluster, "committed", lambda *_: [unknown, answers[1]])
    source.rewind()
    assert offsets(source) == []
    assert cluster.called("seek") == 0
    monkeypatch.setattr(cluster, "committed", lambda *_: answers)
    cluster.coming = [Message(0, 4)]
    assert offsets(source) == [(0, 4)]
    assert cluster.called("seek") == 2


def test_what_came_before_going_back_is_forgotten(cluster: Cluster, source: KafkaSource) -> None:
    cluster.coming = [Message(0, 7), Message(0, 8), Message(0, 0)]
    source.heartbeat()
    source.rewind()
    source.heartbeat()
    assert offsets(source) == [(0, 0)]


def test_a_record_that_comes_again_begins_all_anew(cluster: Cluster, source: KafkaSource) -> None:
    """What is held of it is forgotten, so that what is committed decides what is labelled, and how often."""
    forgotten: list[set[TopicPartition]] = []
    source.open(lambda partitions: forgotten.append(set(partitions)))
    cluster.coming = [Message(0, 5), Message(1, 0), Message(0, 6)]
    assert len(offsets(source)) == 3
    cluster.coming = [Message(0, 7), Message(0, 6)]
    assert offsets(source) == []
    assert forgotten == [{TopicPartition("tweets", 0), TopicPartition("tweets", 1)}]
    cluster.coming = [Message(0, 5), Message(0, 6)]
    assert offsets(source) == [(0, 5), (0, 6)]
    assert cluster.called("seek") == 2


def test_a_partition_that_comes_back_may_begin_before(cluster: Cluster, source: KafkaSource) -> None:
    cluster.coming = [Message(0, 5)]
    offsets(source)
    cluster.revoke = [0]
    offsets(source)
    cluster.callbacks["on_assign"](cluster, cluster.assignment())
    cluster.coming = [Message(0, 3)]
    assert offsets(source) == [(0, 3)]


def test_a_long_wait_pauses_in_the_end(cluster: Cluster, source: KafkaSource) -> None:
    cluster.coming = [Message(0, offset) for offset in range(1000)]
    for _ in range(110):
        source.heartbeat()
    assert cluster.called("pause") == 1
    assert len(offsets(source, limit=200)) == 200
    assert cluster.called("resume") == 1


def test_what_is_held_stays_so_through_a_pause(cluster: Cluster, source: KafkaSource) -> None:
    source.hold([TopicPartition("tweets", 0)])
    for _ in range(110):
        cluster.coming = [Message(1, 0)]
        source.heartbeat()
    cluster.calls.clear()
    source.take(1, 0.0)
    [(_, resumed)] = [call for call in cluster.calls if call[0] == "resume"]
    assert [at.partition for at in resumed] == [1]
    source.rewind()
    assert [at.partition for at in cluster.calls[-1][1]] == [0, 1]


class Told(Message):
    """An error that the client brings in place of a record, and never again."""

    def error(self) -> KafkaError:  # type: ignore[override]
        return KafkaError(KafkaError._FATAL, "Static consumer group.instance.id=a fenced", fatal=True)


@pytest.mark.parametrize("by", ["take", "heartbeat", "rewinding"])
def test_an_end_of_the_client_is_heard_whenever_it_is_told(
    cluster: Cluster, source: KafkaSource, monkeypatch: pytest.MonkeyPatch, by: str
) -> None:
    """The first is forgiven and gets a new client; nothing that the old one brought is ours any more."""
    successor = Cluster()
    monkeypatch.setattr(kafka_source, "Consumer", successor)
    cluster.coming = [Message(0, 0), Told(0, 0), Message(1, 0)]
    if by == "rewinding":
        source.rewind()
        monkeypatch.setattr(cluster, "committed", lambda *_: _raise(KafkaError._FATAL))
    if by != "take":
        for _ in range(2):
            source.heartbeat()
    assert offsets(source) == []
    assert cluster.called("close") == 1
    successor.callbacks["on_assign"](successor, successor.assignment())
    successor.coming = [Message(1, 0)]
    assert offsets(source) == [(1, 0)]
    successor.coming = [Told(0, 0)]
    with pytest.raises(DataLossAvertedError, match=r"worker\.instance_id"):
        source.take(100, 0.1)


@pytest.mark.parametrize(("member", "told"), [("member-1", True), (None, False), ("", False)])
def test_who_is_no_member_commits_nothing(
    cluster: Cluster, source: KafkaSource, monkeypatch: pytest.MonkeyPatch, member: str | None, told: bool
) -> None:
    """A broker would take such offsets without asking whose the partitions are."""
    monkeypatch.setattr(cluster, "memberid", lambda: member, raising=False)
    monkeypatch.setattr(cluster, "consumer_group_metadata", lambda: b"metadata", raising=False)
    with nullcontext() if told else pytest.raises(AbortedError, match="not a member"):
        assert source.group_metadata() == b"metadata"


def _raise(code: int) -> None:
    raise KafkaException(KafkaError(code))
