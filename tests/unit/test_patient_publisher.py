"""What a command does whose producer is lost: it sends nothing twice, and nothing that another has sent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.producers import FATAL, FENCED, RETRIABLE, Cluster
from worker.clock import ManualClock
from worker.errors import DataLossAvertedError, DependencyError
from worker.settings import Settings
from worker.stream import kafka_publisher
from worker.stream.own_group import Committed
from worker.stream.patient_publisher import PatientPublisher
from worker.types import OutRecord, TopicPartition

RECORDS = [OutRecord("tweets", b"k", b"v")]
FIRST, SECOND = TopicPartition("dead", 0), TopicPartition("dead", 1)
OURS, BOTH = {FIRST: 7}, {FIRST: 7, SECOND: 3}
ANOTHER = Committed(9, "another")


class Group:
    """What a group has committed. Its transactions happen when told."""

    def __init__(self) -> None:
        self.stored = {FIRST: Committed(-1), SECOND: Committed(2, "of yesterday")}
        self.sent: list[dict[TopicPartition, Committed]] = []

    def metadata(self) -> None:
        return None

    def committed(self) -> dict[TopicPartition, Committed]:
        return dict(self.stored)

    def take(self, offsets: Any) -> None:
        """The offsets of a transaction that has not happened yet."""
        self.sent.append(
            {TopicPartition(one.topic, one.partition): Committed(one.offset, one.metadata) for one in offsets}
        )

    def happen(self) -> None:
        self.stored |= self.sent[-1]


class Listening(Cluster):
    """Tells a group what its transactions commit."""

    def __init__(self, group: Group) -> None:
        super().__init__()
        self._group = group

    def producer(self, _configuration: dict[str, Any], **_: Any) -> Any:
        made = super().producer(_configuration)
        made.send_offsets_to_transaction = self._send_offsets
        made.commit_transaction = self._commit
        return made

    def _send_offsets(self, offsets: Any, *_: object) -> None:
        self.calls.append("send_offsets_to_transaction")
        self._group.take(offsets)

    def _commit(self, *_: object) -> None:
        self.calls.append("commit_transaction")
        planned = self.failures.get("commit_transaction")
        failure = planned.pop(0) if planned else self._group.happen
        if isinstance(failure, Exception):
            raise failure
        failure()


@pytest.fixture
def group() -> Group:
    return Group()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def cluster(group: Group, monkeypatch: pytest.MonkeyPatch) -> Cluster:
    made = Listening(group)
    monkeypatch.setattr(kafka_publisher, "Producer", made.producer)
    return made


@pytest.fixture
def sender(group: Any, cluster: Cluster, clock: ManualClock) -> PatientPublisher:
    made = PatientPublisher(
        Settings(), "group", "name", outputs=["tweets"], own=group, wait_s=60, clock=clock
    )
    made.open()
    return made


def overdue(clock: ManualClock, *first: Callable[[], object]) -> Callable[[], object]:
    """A commit that stands still until the broker fences whose transaction was open for too long."""

    def commit() -> None:
        for one in first:
            one()
        clock.sleep(Settings().worker.transaction_timeout_ms / 1000)
        raise FENCED

    return commit


def test_each_transaction_leaves_a_note_of_its_own(sender: PatientPublisher, group: Group) -> None:
    sender.send(RECORDS, OURS)
    sender.send(RECORDS, BOTH)

    notes = [{one.note for one in sent.values()} for sent in group.sent]
    assert [len(those) for those in notes] == [1, 1]
    assert notes[0] != notes[1]
    assert {one: at.offset for one, at in group.stored.items()} == BOTH


def test_what_did_not_happen_is_sent_again(
    sender: PatientPublisher, cluster: Cluster, group: Group, clock: ManualClock
) -> None:
    cluster.failures = {"commit_transaction": [overdue(clock), FATAL]}
    sender.send(RECORDS, OURS)

    assert cluster.calls.count("produce") == 3
    assert group.stored[FIRST].offset == 7
    sender.send(RECORDS, BOTH)  # and it goes on from there


def test_what_happened_is_not(
    sender: PatientPublisher, cluster: Cluster, group: Group, clock: ManualClock
) -> None:
    """The broker committed it, and only its answer came too late."""
    cluster.failures = {"commit_transaction": [overdue(clock, group.happen)]}
    sender.send(RECORDS, OURS)

    assert cluster.calls.count("produce") == 1
    sender.send(RECORDS, BOTH)
    assert cluster.calls.count("produce") == 2


@pytest.mark.parametrize("where", [FIRST, SECOND])
def test_what_another_has_gone_on_with_is_left_to_it(
    sender: PatientPublisher, cluster: Cluster, group: Group, clock: ManualClock, where: TopicPartition
) -> None:
    """Also where it has come no further than partitions that this transaction is not about."""
    cluster.failures = {"commit_transaction": [overdue(clock, lambda: group.stored.update({where: ANOTHER}))]}
    with pytest.raises(DataLossAvertedError, match="another"):
        sender.send(RECORDS, OURS)

    assert cluster.calls.count("produce") == 1
    assert cluster.calls.count("new") == 1  # it is not fenced by us


def test_also_what_it_commits_in_the_very_last_moment(
    sender: PatientPublisher, cluster: Cluster, group: Group, clock: ManualClock
) -> None:
    cluster.failures = {
        "commit_transaction": [overdue(clock)],
        "init_transactions": [lambda: group.stored.update({FIRST: ANOTHER})],
    }
    with pytest.raises(DataLossAvertedError, match="another"):
        sender.send(RECORDS, OURS)

    assert cluster.calls.count("produce") == 1


def test_fenced_at_once_it_ends_at_once(sender: PatientPublisher, cluster: Cluster) -> None:
    cluster.failures = {"commit_transaction": [FENCED]}
    with pytest.raises(DataLossAvertedError, match="another process was started"):
        sender.send(RECORDS, OURS)
    assert cluster.calls.count("new") == 1


def test_patience_ends(sender: PatientPublisher, cluster: Cluster) -> None:
    cluster.failures = {"commit_transaction": [RETRIABLE] * 1000}
    with pytest.raises(DependencyError, match="Kafka at"):
        sender.send(RECORDS, OURS)
