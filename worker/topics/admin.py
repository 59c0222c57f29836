"""The topics of a cluster, read and changed with kafka-python's admin client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from kafka import errors
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient

from worker.clock import Clock, SystemClock
from worker.settings import Settings
from worker.topics.connect import WAIT_S, connected
from worker.topics.plan import Difference, Topic, differences, plan

_SEEN_S = 20.0


@dataclass(frozen=True, slots=True)
class Report:
    """What `create` did."""

    created: tuple[str, ...]
    changed: tuple[Difference, ...]
    """Now as wanted."""
    left: tuple[Difference, ...]
    """Still different, because mending would delete records or Kafka cannot."""


def create(
    settings: Settings,
    *,
    wanted: Sequence[Topic] | None = None,
    allow_deletion: bool = False,
    wait_s: float = WAIT_S,
    clock: Clock | None = None,
) -> Report:
    """Bring topics, those of the plan where not others are `wanted`, to what they should be. Idempotent.

    Creates, adds partitions and sets configurations.

    Partitions are never taken away, and what would make Kafka delete records (a shorter retention, another
    cleanup policy) is done only with `allow_deletion`.

    Raises:
        DependencyError: no broker answered within `wait_s`, or it refused.
    """
    clock = clock or SystemClock()
    wanted = plan(settings.topics) if wanted is None else wanted
    mendable = {"create", "create_deleting"} if allow_deletion else {"create"}
    with connected(settings.kafka, wait_s=wait_s, clock=clock) as admin:
        found = differences(wanted, _describe(admin, wanted))
        mended = tuple(difference for difference in found if difference.by in mendable)
        missing = {difference.topic for difference in mended if difference.what == "topic"}
        changed = tuple(difference for difference in mended if difference.what != "topic")
        _create(admin, [topic for topic in wanted if topic.name in missing])
        _grow(admin, [difference for difference in changed if difference.what == "partitions"])
        _configure(admin, [difference for difference in changed if difference.what != "partitions"])
        left = tuple(difference for difference in found if difference.by not in mendable)
        _until_seen(admin, wanted, left, clock)
    return Report(tuple(topic.name for topic in wanted if topic.name in missing), changed, left)


def check(
    settings: Settings, *, wait_s: float = WAIT_S, clock: Clock | None = None
) -> tuple[Difference, ...]:
    """How the cluster's topics differ from the plan; changes nothing.

    Raises:
        DependencyError: no broker answered within `wait_s`, or it refused.
    """
    wanted = plan(settings.topics)
    with connected(settings.kafka, wait_s=wait_s, clock=clock) as admin:
        return differences(wanted, _describe(admin, wanted))


def _until_seen(
    admin: KafkaAdminClient, wanted: Sequence[Topic], left: Iterable[Difference], clock: Clock
) -> None:
    """The controller has agreed; wait until the brokers say so too, a moment later."""
    deadline = clock.monotonic() + _SEEN_S
    while not set(differences(wanted, _describe(admin, wanted))) <= set(left):
        if clock.monotonic() > deadline:
            raise errors.KafkaTimeoutError(f"the brokers do not show the changes after {_SEEN_S:g} s")
        clock.sleep(0.05)


def _describe(admin: KafkaAdminClient, wanted: Sequence[Topic]) -> Mapping[str, Topic]:
    """The wanted topics that are there, with the configurations that the plan names."""
    # By name: of all topics, those that we may not see would look as if they were missing.
    partitions = {}
    for found in admin.describe_topics([topic.name for topic in wanted]):
        error = errors.for_code(found["error_code"])
        if error is errors.NoError:
            partitions[found["name"]] = found["partitions"]
        elif error is not errors.UnknownTopicOrPartitionError:
            raise error(f"topic {found['name']}")
    there = [topic for topic in wanted if topic.name in partitions]
    if not there:
        return {}
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic.name, list(topic.configs)) for topic in there]
    configs = admin.describe_configs(asked, config_filter="all")["topic"]
    return {
        topic.name: Topic(
            topic.name,
            len(partitions[topic.name]),
            min((len(partition["replica_nodes"]) for partition in partitions[topic.name]), default=0),
            {name: str(entry["value"]) for name, entry in configs[topic.name].items()},
        )
        for topic in there
    }


def _create(admin: KafkaAdminClient, topics: list[Topic]) -> None:
    if not topics:
        return
    answer = admin.create_topics(
        {
            topic.name: {
                "num_partitions": topic.partitions,
                "replication_factor": topic.replication_factor,
                "configs": dict(topic.configs),
            }
            for topic in topics
        },
        raise_errors=False,
    )
    for topic in answer["topics"]:
        error = errors.for_code(topic["error_code"])
        if error not in (errors.NoError, errors.TopicAlreadyExistsError):  # another `create` was faster
            raise error(f"topic {topic['name']}: {topic['error_message']}")
    admin.wait_for_topics([topic.name for topic in topics], timeout_ms=int(_SEEN_S * 1000))


def _grow(admin: KafkaAdminClient, changes: list[Difference]) -> None:
    if not changes:
        return
    answer = admin.create_partitions(
        {change.topic: int(change.wanted) for change in changes}, raise_errors=False
    )
    for result in answer.results:
        error = errors.for_code(result.error_code)
        if error is not errors.NoError:
            raise error(f"partitions of {result.name}: {result.error_message}")


def _configure(admin: KafkaAdminClient, changes: list[Difference]) -> None:
    if not changes:
        return
    by_topic: dict[str, dict[str, str]] = {}
    for change in changes:
        by_topic.setdefault(change.topic, {})[change.what] = change.wanted
    answer = admin.alter_configs(
        [ConfigResource(ConfigResourceType.TOPIC, name, configs) for name, configs in by_topic.items()]
    )
    for name, result in answer["topic"].items():
        if result != "OK":
            raise errors.BrokerResponseError(f"configuration of {name}: {result}")
