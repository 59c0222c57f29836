"""What the topics should be, and how a cluster differs from it. Pure: settings in, facts out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from worker.settings import ENV_PREFIX, TopicSettings
from worker.stream.dead_letters import HEADER_ROOM

_HOUR_MS = 3_600_000
_FOREVER = "-1"

CREATE = "moodstream topics create"
CREATE_DELETING = f"{CREATE} --allow-deletion"


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic's shape, wanted or found."""

    name: str
    partitions: int
    replication_factor: int
    configs: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing about one topic that is not as the settings say."""

    topic: str
    what: str
    """`topic`, `partitions`, `replication_factor`, or the name of a topic configuration."""
    wanted: str
    found: str
    mend: str
    """The command or setting that mends it."""
    by: Literal["create", "create_deleting", "operator"]
    """Who can: `topics create`, only with --allow-deletion, or an operator by hand."""

    def __str__(self) -> str:
        return f"{self.topic}: {self.what} is {self.found}, wanted {self.wanted}; mend with: {self.mend}"


def plan(topics: TopicSettings) -> tuple[Topic, ...]:
    """Every topic that moodstream reads or writes.

    - inputs and labels: kept for `retention_hours`, which is how far a replay reaches.
    - dead letters: four times as long, because a person has to come and look; records as large as any
      input's, plus room for the headers that say what was wrong.
    - corrections: kept for good (people's work, and little of it); one partition, so that all are in one
      order and the one instance that counts them sees them all.
    - judgements: the changelog of the quality role's table, so it has the partitions of the corrections;
      compacted: the last judgement of each label is kept.
    - control: one partition, so that all see one order; compacted, so that a worker that starts now
      still learns what was set long ago.
    - alerts: one partition, kept like labels.
    """
    retention = _kept_for(topics.retention_hours)
    few = min(3, topics.partitions)

    def topic(name: str, partitions: int, **configs: str) -> Topic:
        named = {key.replace("_", "."): value for key, value in configs.items()}
        return Topic(
            name,
            partitions,
            topics.replication_factor,
            {
                "cleanup.policy": "delete",
                "max.message.bytes": str(topics.max_message_bytes),
                "min.insync.replicas": str(topics.min_insync_replicas),
                **named,
            },
        )

    return (
        *(topic(name, topics.partitions, retention_ms=retention) for name in topics.inputs),
        topic(topics.labels, topics.partitions, retention_ms=retention),
        topic(
            topics.dead_letters,
            few,
            retention_ms=_kept_for(4 * topics.retention_hours),
            max_message_bytes=str(topics.max_message_bytes + HEADER_ROOM),
        ),
        topic(topics.corrections, 1, retention_ms=_FOREVER),
        topic(topics.judgements, 1, cleanup_policy="compact"),
        topic(topics.control, 1, cleanup_policy="compact"),
        topic(topics.alerts, 1, retention_ms=retention),
    )


def differences(wanted: Iterable[Topic], found: Mapping[str, Topic]) -> tuple[Difference, ...]:
    """What is not as wanted, topic by topic. Configurations that the plan does not name are not looked at."""
    result: list[Difference] = []
    for topic in wanted:
        actual = found.get(topic.name)
        if actual is None:
            result.append(Difference(topic.name, "topic", "present", "missing", CREATE, "create"))
        else:
            result.extend(_between(topic, actual))
    return tuple(result)


def _between(wanted: Topic, actual: Topic) -> Iterable[Difference]:
    if wanted.partitions != actual.partitions:
        yield _partitions(wanted, actual)
    if wanted.replication_factor != actual.replication_factor:
        yield Difference(
            wanted.name,
            "replication_factor",
            str(wanted.replication_factor),
            str(actual.replication_factor),
            "kafka-reassign-partitions.sh, or "
            f"{ENV_PREFIX}TOPICS__REPLICATION_FACTOR={actual.replication_factor}",
            "operator",
        )
    for name, value in wanted.configs.items():
        has = actual.configs.get(name, "unset")
        if has != value:
            deletes = _deletes_records(name, value, has)
            yield Difference(
                wanted.name,
                name,
                value,
                has,
                CREATE_DELETING if deletes else CREATE,
                "create_deleting" if deletes else "create",
            )


def _partitions(wanted: Topic, actual: Topic) -> Difference:
    few = actual.partitions < wanted.partitions
    return Difference(
        wanted.name,
        "partitions",
        str(wanted.partitions),
        str(actual.partitions),
        CREATE if few else "delete and create the topic, or adapt "
        f"{ENV_PREFIX}TOPICS__PARTITIONS; Kafka takes no partition away",
        "create" if few else "operator",
    )  # fmt: skip


def _deletes_records(name: str, wanted: str, found: str) -> bool:
    """Whether applying this makes Kafka remove records that it would have kept."""
    if name == "retention.ms":
        return wanted != _FOREVER and (not found.isdigit() or int(wanted) < int(found))
    return name == "cleanup.policy"


def _kept_for(hours: int) -> str:
    return str(hours * _HOUR_MS)
