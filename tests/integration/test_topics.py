"""`moodstream topics` against a real Kafka."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator

import click.testing
import pytest
from confluent_kafka.admin import AdminClient

from tests.support.kafka import KafkaUnderTest, produce, read_all, unique
from worker.configuration import load
from worker.errors import DependencyError
from worker.local import kafka as local_kafka
from worker.local.kafka import RealKafka
from worker.local.processes import HOST, free_port
from worker.settings import Settings
from worker.topics import admin
from worker.topics.commands import topics

NAMES = ("inputs", "labels", "dead_letters", "corrections", "judgements", "control", "alerts")


@pytest.fixture
def names() -> dict[str, str]:
    """Topic names that no other test has, as settings."""
    return {f"topics.{role}": unique(role) for role in NAMES}


def settings_for(kafka: KafkaUnderTest, names: dict[str, str], **shape: int) -> Settings:
    flags = {f"topics.{name}": str(value) for name, value in {"partitions": 3, **shape}.items()}
    return load({"kafka.bootstrap_servers": kafka.bootstrap, **names, **flags}, env={})


def run(settings: Settings, *arguments: str) -> click.testing.Result:
    shown = settings.topics.model_dump(exclude={"weights", "input_formats"})
    flags = {f"topics.{name}": value for name, value in shown.items()}
    flags["topics.inputs"] = ",".join(settings.topics.inputs)
    flags["kafka.bootstrap_servers"] = settings.kafka.bootstrap_servers
    given = [f"--set={name}={value}" for name, value in flags.items()]
    return click.testing.CliRunner().invoke(topics, [*arguments, *given])


def partitions(kafka: KafkaUnderTest, topic: str) -> int:
    return len(
        AdminClient({"bootstrap.servers": kafka.bootstrap})
        .list_topics(topic, timeout=10)
        .topics[topic]
        .partitions
    )


def test_created_topics_are_as_planned_and_a_second_run_changes_nothing(
    kafka: KafkaUnderTest, names: dict[str, str]
) -> None:
    settings = settings_for(kafka, names)
    before = run(settings, "check", "--json")
    assert before.exit_code == 2
    assert {found["found"] for found in json.loads(before.output)["differences"]} == {"missing"}

    first = run(settings, "create", "--json")

    assert first.exit_code == 0
    assert json.loads(first.output) == {"created": list(names.values()), "changed": [], "left": []}
    assert json.loads(run(settings, "create", "--json").output) == {"created": [], "changed": [], "left": []}
    after = run(settings, "check", "--json")
    assert (after.exit_code, json.loads(after.output)) == (0, {"equal": True, "differences": []})


def test_people_read_what_was_done_and_what_is_left(kafka: KafkaUnderTest, names: dict[str, str]) -> None:
    tweets, labels = names["topics.inputs"], names["topics.labels"]
    created = run(settings_for(kafka, names), "create").output
    assert created.splitlines()[0] == f"{tweets}: created"
    assert run(settings_for(kafka, names), "create").output == "every topic is as the settings say\n"
    assert run(settings_for(kafka, names), "check").output == "every topic is as the settings say\n"

    changed = run(settings_for(kafka, names, partitions=4, retention_hours=1), "create").output

    assert f"{tweets}: partitions 3 -> 4 (keys now map to other partitions)\n" in changed
    assert (
        f"left as it is: {labels}: retention.ms is 604800000, wanted 3600000; "
        "mend with: moodstream topics create --allow-deletion\n"
    ) in changed


def test_too_few_partitions_grow_and_too_many_stay(kafka: KafkaUnderTest, names: dict[str, str]) -> None:
    tweets = names["topics.inputs"]
    admin.create(settings_for(kafka, names, partitions=2))

    report = admin.create(settings_for(kafka, names, partitions=5))

    grown = {change.topic for change in report.changed if change.what == "partitions"}
    assert {tweets, names["topics.labels"]} <= grown
    assert names["topics.corrections"] not in grown
    assert partitions(kafka, tweets) == 5
    assert admin.check(settings_for(kafka, names, partitions=5)) == ()

    back = admin.create(settings_for(kafka, names, partitions=4))

    assert back.changed == ()
    assert {(left.topic, left.found) for left in back.left} >= {(tweets, "5")}
    assert partitions(kafka, tweets) == 5


def test_a_longer_retention_is_set_a_shorter_one_only_when_allowed(
    kafka: KafkaUnderTest, names: dict[str, str]
) -> None:
    tweets = names["topics.inputs"]
    admin.create(settings_for(kafka, names, retention_hours=10))

    longer = admin.create(settings_for(kafka, names, retention_hours=20))
    assert (tweets, "72000000") in {(change.topic, change.wanted) for change in longer.changed}
    assert longer.left == ()

    shorter = settings_for(kafka, names, retention_hours=5)
    assert admin.create(shorter).changed == ()
    found = run(shorter, "check")
    assert found.exit_code == 2
    assert (
        f"{tweets}: retention.ms is 72000000, wanted 18000000; "
        "mend with: moodstream topics create --allow-deletion"
    ) in found.output

    assert run(shorter, "create", "--allow-deletion").exit_code == 0
    assert run(shorter, "check").exit_code == 0


def test_the_largest_records_fit(kafka: KafkaUnderTest, names: dict[str, str]) -> None:
    """An input that just fits must fit among the dead letters too, headers included."""
    settings = settings_for(kafka, names)
    admin.create(settings)
    largest = b"x" * (settings.topics.max_message_bytes - 200)

    produce(kafka.bootstrap, names["topics.inputs"], [largest])
    produce(kafka.bootstrap, names["topics.dead_letters"], [largest + b"h" * 60_000])

    [record] = read_all(kafka.bootstrap, names["topics.inputs"])
    assert record.value() == largest


def test_what_the_cluster_cannot_do_is_told_in_its_words(
    kafka: KafkaUnderTest, names: dict[str, str]
) -> None:
    settings = settings_for(kafka, names, replication_factor=3)

    with pytest.raises(DependencyError, match="replication factor of 3 cannot be reached"):
        admin.create(settings)


def test_a_broker_that_is_away_is_given_up_on_in_time(caplog: pytest.LogCaptureFixture) -> None:
    address = f"{HOST}:{free_port()}"

    result = run(load({"kafka.bootstrap_servers": address}, env={}), "check", "--wait", "0.5")

    assert isinstance(result.exception, DependencyError)
    assert result.exception.exit_code == 3
    assert str(result.exception) == (
        f"Kafka at {address}: no answer within 0.5 s: {address}: Connection refused"
    )
    assert caplog.messages == [f"Kafka at {address} does not answer yet; trying for 0.5 s"]


def test_a_server_that_is_no_broker_is_given_up_on_and_leaves_no_thread(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with socket.create_server((HOST, 0)) as silent:
        settings = load({"kafka.bootstrap_servers": f"{HOST}:{silent.getsockname()[1]}"}, env={})
        before = threading.active_count()

        with pytest.raises(DependencyError, match=r"no answer within 0\.5 s"):
            admin.check(settings, wait_s=0.5)

        assert threading.active_count() == before


PASSWORD = "correct-horse"
LOGIN = "org.apache.kafka.common.security.plain.PlainLoginModule required"


@pytest.fixture
def guarded_kafka() -> Iterator[RealKafka]:
    """A Kafka that wants a password."""
    missing = local_kafka.available()
    if missing is not None:
        pytest.skip(missing)
    users = f'username="broker" password="broker" user_broker="broker" user_moodstream="{PASSWORD}"'
    server = RealKafka(
        {
            "listener.security.protocol.map": "CONTROLLER:PLAINTEXT,SASL_PLAINTEXT:SASL_PLAINTEXT",
            "security.inter.broker.protocol": "SASL_PLAINTEXT",
            "sasl.mechanism.inter.broker.protocol": "PLAIN",
            "sasl.enabled.mechanisms": "PLAIN",
            "listener.name.sasl_plaintext.plain.sasl.jaas.config": f"{LOGIN} {users};",
        }
    )
    server.properties["listeners"] = server.properties["listeners"].replace("PLAINTEXT:", "SASL_PLAINTEXT:")
    with server:
        yield server


@pytest.mark.slow
def test_a_password_opens_and_a_wrong_one_is_refused_at_once(guarded_kafka: RealKafka) -> None:
    flags = {
        "kafka.bootstrap_servers": guarded_kafka.bootstrap,
        "kafka.security_protocol": "sasl_plaintext",
        "kafka.sasl_mechanism": "PLAIN",
        "kafka.sasl_username": "moodstream",
    }
    admin.create(load({**flags, "kafka.sasl_password": PASSWORD}, env={}))
    assert admin.check(load({**flags, "kafka.sasl_password": PASSWORD}, env={})) == ()

    with pytest.raises(DependencyError, match="Authentication failed") as caught:
        admin.check(load({**flags, "kafka.sasl_password": "wrong"}, env={}), wait_s=60)

    assert "wrong" not in str(caught.value)
