"""What the topics should be, and how differences and their remedies are told."""

from __future__ import annotations

import dataclasses
import itertools

import pytest

from worker.clock import ManualClock
from worker.errors import DependencyError
from worker.settings import TopicSettings
from worker.topics.connect import NoAnswerError, patiently
from worker.topics.plan import Topic, differences, plan

HOUR_MS = 3_600_000
SETTINGS = TopicSettings(
    partitions=6, replication_factor=3, min_insync_replicas=2, retention_hours=10, max_message_bytes=100_000
)


def planned(settings: TopicSettings = SETTINGS) -> dict[str, Topic]:
    return {topic.name: topic for topic in plan(settings)}


def test_every_topic_of_the_settings_is_planned_once() -> None:
    names = {name for name in TopicSettings.model_fields if name not in SHAPE}

    assert names == {"inputs", "labels", "dead_letters", "corrections", "judgements", "control", "alerts"}
    assert [topic.name for topic in plan(TopicSettings(inputs=("posts",)))] == [
        "posts",
        "emotion-labels",
        "emotion-dead-letters",
        "emotion-corrections",
        "emotion-judgements",
        "emotion-control",
        "emotion-alerts",
    ]


SHAPE = {
    "partitions", "replication_factor", "min_insync_replicas", "retention_hours", "max_message_bytes",
    "weights", "input_formats", "label_format",
}  # fmt: skip


@pytest.mark.parametrize("name", ["tweets", "feedback", "emotion-labels"])
def test_inputs_and_labels_follow_the_settings(name: str) -> None:
    assert planned()[name] == Topic(
        name,
        6,
        3,
        {
            "cleanup.policy": "delete",
            "retention.ms": str(10 * HOUR_MS),
            "max.message.bytes": "100000",
            "min.insync.replicas": "2",
        },
    )


def test_dead_letters_hold_any_input_and_its_headers_and_wait_longer() -> None:
    dead_letters = planned()["emotion-dead-letters"]

    assert dead_letters.configs["max.message.bytes"] == str(100_000 + 64 * 1024)
    assert dead_letters.configs["retention.ms"] == str(40 * HOUR_MS)
    assert dead_letters.partitions == 3
    assert planned(TopicSettings(partitions=2))["emotion-dead-letters"].partitions == 2


def test_corrections_stay_and_are_in_one_order() -> None:
    assert planned()["emotion-corrections"].configs["retention.ms"] == "-1"
    assert planned()["emotion-corrections"].partitions == 1


def test_judgements_are_the_changelog_of_a_table_over_the_corrections() -> None:
    judgements = planned()["emotion-judgements"]

    assert judgements.configs["cleanup.policy"] == "compact"
    assert judgements.partitions == planned()["emotion-corrections"].partitions


def test_control_is_compacted_and_in_one_order() -> None:
    control = planned()["emotion-control"]

    assert control.partitions == 1
    assert control.configs["cleanup.policy"] == "compact"
    assert "retention.ms" not in control.configs


def test_as_planned_is_no_difference_nor_is_what_the_plan_does_not_name() -> None:
    found = {
        name: dataclasses.replace(topic, configs={**topic.configs, "compression.type": "zstd"})
        for name, topic in planned().items()
    }

    assert differences(plan(SETTINGS), found) == ()


def test_a_missing_topic_is_one_difference() -> None:
    found = planned()
    del found["tweets"]

    [difference] = differences(plan(SETTINGS), found)

    assert str(difference) == (
        "tweets: topic is missing, wanted present; mend with: moodstream topics create"
    )


WANTED = Topic("t", 6, 3, {"retention.ms": "1000", "cleanup.policy": "delete"})


@pytest.mark.parametrize(
    ("found", "what", "mend", "by"),
    [
        (Topic("t", 5, 3, WANTED.configs), "partitions", "moodstream topics create", "create"),
        (Topic("t", 7, 3, WANTED.configs), "partitions", "MOODSTREAM_TOPICS__PARTITIONS", "operator"),
        (Topic("t", 6, 2, WANTED.configs), "replication_factor", "REPLICATION_FACTOR=2", "operator"),
        (
            Topic("t", 6, 3, {**WANTED.configs, "retention.ms": "999"}),
            "retention.ms",
            "moodstream topics create",
            "create",
        ),
        (
            Topic("t", 6, 3, {**WANTED.configs, "retention.ms": "1001"}),
            "retention.ms",
            "moodstream topics create --allow-deletion",
            "create_deleting",
        ),
        (
            Topic("t", 6, 3, {**WANTED.configs, "retention.ms": "-1"}),
            "retention.ms",
            "moodstream topics create --allow-deletion",
            "create_deleting",
        ),
        (
            Topic("t", 6, 3, {**WANTED.configs, "cleanup.policy": "compact"}),
            "cleanup.policy",
            "moodstream topics create --allow-deletion",
            "create_deleting",
        ),
    ],
)
def test_each_difference_names_its_remedy(found: Topic, what: str, mend: str, by: str) -> None:
    [difference] = differences([WANTED], {"t": found})

    assert (difference.what, difference.by) == (what, by)
    assert mend in difference.mend
    assert ("--allow-deletion" in difference.mend) == (by == "create_deleting")


def test_longer_retention_than_found_deletes_nothing() -> None:
    forever = Topic("t", 6, 3, {"retention.ms": "-1"})

    [difference] = differences([forever], {"t": Topic("t", 6, 3, {"retention.ms": "1000"})})

    assert difference.by == "create"


class TestPatience:
    def test_it_tries_until_a_broker_answers(self) -> None:
        clock, attempts = ManualClock(), itertools.count(1)

        def connect(_within_s: float) -> str:
            if next(attempts) < 4:
                raise NoAnswerError("nobody there")
            return "connected"

        assert patiently(connect, wait_s=30, clock=clock, where="Kafka") == "connected"
        assert 0 < clock.now - ManualClock().now < 0.1 + 0.2 + 0.4

    def test_it_gives_up_in_time_and_says_why(self) -> None:
        clock, allowed = ManualClock(), []

        def connect(within_s: float) -> None:
            allowed.append(within_s)
            clock.sleep(within_s)
            raise NoAnswerError("nobody there")

        with pytest.raises(DependencyError, match="Kafka: no answer within 30 s: nobody there"):
            patiently(connect, wait_s=30, clock=clock, where="Kafka")

        assert 30 <= clock.now - ManualClock().now < 31
        assert max(allowed) == 3.0

    def test_a_refusal_is_not_tried_again(self) -> None:
        attempts = []

        def connect(_within_s: float) -> None:
            attempts.append(1)
            raise PermissionError

        with pytest.raises(PermissionError):
            patiently(connect, wait_s=30, clock=ManualClock(), where="Kafka")

        assert len(attempts) == 1
