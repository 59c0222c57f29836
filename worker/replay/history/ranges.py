"""Which offsets of which partitions a replay is about: the topic's, asked for with kafka-python."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, NamedTuple

import msgspec
from kafka import TopicPartition, errors
from kafka.admin import KafkaAdminClient, OffsetSpec
from kafka.protocol.consumer import IsolationLevel

from worker.errors import ConfigurationError, DependencyError
from worker.replay.history.bounds import Bound
from worker.settings import KafkaSettings
from worker.topics.connect import connected
from worker.types import TopicPartition as Place

_NO_SUCH_TOPIC = 3


class Range(msgspec.Struct, frozen=True):
    """Offsets of one partition: `start` and all up to, not including, `end`."""

    partition: int
    start: int
    end: int

    @property
    def offsets(self) -> int:
        """How many there are; as many records at most, since transactions and compaction leave gaps."""
        return max(0, self.end - self.start)


class Found(msgspec.Struct, frozen=True):
    """A topic's ranges."""

    topic_id: str
    """Kafka's own; a topic that is deleted and created again has another."""
    ranges: list[Range]


def find_ranges(
    kafka: KafkaSettings, topic: str, start: Bound, end: Bound, partitions: Collection[int] = ()
) -> Found:
    """The offsets between two bounds.

    Times are Kafka's: a range begins at the first record that is not older than `start` and ends before the
    first that is not older than `end`, in each partition. Ends at what is committed now.

    Args:
        kafka: How to reach it.
        topic: Its name.
        start: First.
        end: Behind the last.
        partitions: Only these; all where empty.

    Raises:
        ConfigurationError: there is no such topic or partition, or no record between the bounds.
        DependencyError: Kafka cannot be reached or refuses.
    """
    with connected(kafka) as admin:
        described = _describe(admin, topic)
        there = sorted(one["partition_index"] for one in described["partitions"])
        absent = sorted(set(partitions) - set(there))
        if absent:
            raise ConfigurationError(
                [f"{topic} has no partition {number}; it has 0 to {there[-1]}" for number in absent]
            )
        asked = [TopicPartition(topic, number) for number in there if not partitions or number in partitions]
        first = _offsets(admin, asked, OffsetSpec.EARLIEST)
        last = _offsets(admin, asked, OffsetSpec.LATEST)
        starts = _bound(admin, asked, start, first, last)
        ends = _bound(admin, asked, end, first, last)
        ranges = [Range(one.partition, starts[one], max(starts[one], ends[one])) for one in asked]
        if not any(one.offsets for one in ranges):
            raise ConfigurationError([f"{topic}: no record in this range; {_holds(admin, first, last)}"])
    return Found(str(described["topic_id"]), ranges)


class Starts(NamedTuple):
    """Where reading several topics begins."""

    offsets: dict[Place, int]
    """Of every partition."""
    ends: dict[Place, int]
    """Where each ends now."""
    earliest_ms: dict[Place, int]
    """Of those that have lost their first records: when the first one was written that is left."""


def find_starts(kafka: KafkaSettings, topics: Sequence[str], at_ms: int) -> Starts:
    """Of each partition of some topics the first record that is not older than `at_ms`, by Kafka's clock.

    Raises:
        ConfigurationError: one of them is not there.
        DependencyError: Kafka cannot be reached or refuses.
    """
    found = Starts({}, {}, {})
    with connected(kafka) as admin:
        for topic in topics:
            numbers = [one["partition_index"] for one in _describe(admin, topic)["partitions"]]
            asked = [TopicPartition(topic, number) for number in sorted(numbers)]
            first = _offsets(admin, asked, OffsetSpec.EARLIEST)
            last = _offsets(admin, asked, OffsetSpec.LATEST)
            starts = _bound(admin, asked, Bound("time", at_ms), first, last)
            cut = [one for one in asked if 0 < first[one] == starts[one] < last[one]]
            times = admin.list_partition_offsets(dict.fromkeys(cut, 0)) if cut else {}
            found.offsets.update({Place(topic, one.partition): starts[one] for one in asked})
            found.ends.update({Place(topic, one.partition): last[one] for one in asked})
            found.earliest_ms.update({Place(topic, one.partition): times[one].timestamp for one in cut})
    return found


def topic_id(kafka: KafkaSettings, topic: str) -> str:
    """Kafka's own id of a topic.

    Raises:
        ConfigurationError: there is no such topic.
        DependencyError: Kafka cannot be reached or refuses.
    """
    with connected(kafka) as admin:
        return str(_describe(admin, topic)["topic_id"])


def _describe(admin: KafkaAdminClient, topic: str) -> Mapping[str, Any]:
    described: Mapping[str, Any] = admin.describe_topics([topic])[0]
    code = described["error_code"]
    if code == _NO_SUCH_TOPIC:
        known = sorted(name for name in admin.list_topics() if not name.startswith("__"))
        raise ConfigurationError([f"there is no topic {topic}; there are: {', '.join(known) or 'none'}"])
    if code:
        raise DependencyError("kafka", f"topic {topic}: {errors.for_code(code).__name__}")
    return described


def _offsets(
    admin: KafkaAdminClient, asked: Sequence[TopicPartition], spec: OffsetSpec | int
) -> dict[TopicPartition, int]:
    """What ListOffsets answers; -1 where nothing is as late as a time. Open transactions are not the end."""
    answer = admin.list_partition_offsets(
        dict.fromkeys(asked, spec), isolation_level=IsolationLevel.READ_COMMITTED
    )
    return {partition: found.offset for partition, found in answer.items()}


def _bound(
    admin: KafkaAdminClient,
    asked: Sequence[TopicPartition],
    bound: Bound,
    first: Mapping[TopicPartition, int],
    last: Mapping[TopicPartition, int],
) -> Mapping[TopicPartition, int]:
    if bound.kind == "beginning":
        return first
    if bound.kind == "end":
        return last
    if bound.kind == "offset":
        wanted = dict.fromkeys(asked, bound.value)
    else:
        found = _offsets(admin, asked, bound.value)
        wanted = {one: last[one] if offset < 0 else offset for one, offset in found.items()}
    return {one: min(max(offset, first[one]), last[one]) for one, offset in wanted.items()}


def _holds(
    admin: KafkaAdminClient, first: Mapping[TopicPartition, int], last: Mapping[TopicPartition, int]
) -> str:
    """What there is instead, so that the next range is not a guess."""
    filled = [one for one in first if last[one] > first[one]]
    if not filled:
        return "it is empty"
    earliest = admin.list_partition_offsets(dict.fromkeys(filled, 0))
    latest = admin.list_partition_offsets(dict.fromkeys(filled, OffsetSpec.MAX_TIMESTAMP))
    times = [found.timestamp for found in (*earliest.values(), *latest.values()) if found.timestamp >= 0]
    low, high = min(first[one] for one in filled), max(last[one] for one in filled)
    said = f"it holds offsets {low} to {high - 1}"
    return f"{said}, written {_shown(min(times))} to {_shown(max(times))}" if times else said


def _shown(timestamp_ms: int) -> str:
    return datetime.fromtimestamp(timestamp_ms / 1000, UTC).isoformat(timespec="seconds")
