"""Avro and Protobuf from end to end: a real Kafka, Confluent's serializers, worker, trends and a replay."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka.schema_registry import SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from tests.support.formats import message_class, record
from tests.support.kafka import KafkaUnderTest
from tests.support.pipeline import Pipeline
from tests.support.registry import LocalRegistry, local_registry
from tests.support.waiting import eventually
from worker.cli import cli
from worker.clock import SystemClock
from worker.configuration import load
from worker.formats import schemas
from worker.formats.frame import header
from worker.formats.opened import for_command
from worker.local.redis import RealRedis
from worker.types import Label, OutRecord, Post

LOGIN, PASSWORD = ["moodstream", "s3cret-of-the-registry"]
NOW = datetime(2024, 1, 1, 12, tzinfo=UTC)
TEXTS = ("what a lovely day", "i am so sad", "this makes me furious")
POST = record(
    ("id", "string"), ("text", "string"), ("created_at", {"type": "long", "logicalType": "timestamp-millis"})
)


class Formats:
    """Tweets in Avro, feedback in Protobuf, labels in Protobuf that are CloudEvents."""

    def __init__(
        self, kafka: KafkaUnderTest, redis: RealRedis, registry: LocalRegistry, folder: Path
    ) -> None:
        self.kafka, self.registry = kafka, registry
        self.tweets, self.feedback = kafka.topic("tweets", partitions=2), kafka.topic("feedback")
        more = {
            "MOODSTREAM_TOPICS__INPUTS": f"{self.tweets},{self.feedback}",
            "MOODSTREAM_TOPICS__INPUT_FORMATS": f"{self.tweets}=avro,{self.feedback}=protobuf",
            "MOODSTREAM_TOPICS__LABEL_FORMAT": "protobuf",
            "MOODSTREAM_REGISTRY__URL": registry.url,
            "MOODSTREAM_REGISTRY__USERNAME": LOGIN,
            "MOODSTREAM_REGISTRY__PASSWORD": PASSWORD,
            "MOODSTREAM_WORKER__CLOUD_EVENTS": "on",
        }
        self.pipeline = Pipeline(kafka, redis, folder, **more)
        self.settings = load({}, self.pipeline.environment)
        self.client = SchemaRegistryClient(
            {"url": registry.url, "basic.auth.user.info": f"{LOGIN}:{PASSWORD}"}
        )

    def avro(self, schema: Any, *posts: dict[str, Any], subject: str | None = None) -> list[bytes]:
        write: Any = AvroSerializer(self.client, json.dumps(schema))
        return [
            write(post, SerializationContext(subject or self.tweets, MessageField.VALUE)) for post in posts
        ]

    def protobuf(self, *posts: dict[str, Any]) -> list[bytes]:
        kind = message_class(schemas.descriptor(Post), "moodstream.Post")
        write: Any = ProtobufSerializer(kind, self.client)
        context = SerializationContext(self.feedback, MessageField.VALUE)
        found = []
        for post in posts:
            message = kind(**post)
            message.created_at.FromDatetime(NOW)
            found.append(write(message, context))
        return found

    def labels(self) -> list[Label]:
        read = for_command(self.settings, SystemClock(), 10.0).labels(Label)
        messages = self.kafka.read_all(self.pipeline.labels)
        return [read(value) for message in messages if (value := message.value()) is not None]

    def dead(self) -> dict[bytes | None, str]:
        """The kind by the original bytes."""
        found = {}
        for message in self.kafka.read_all(self.pipeline.dead):
            kind = dict(message.headers() or [])["moodstream.error"]
            assert isinstance(kind, bytes)
            found[message.value()] = kind.decode()
        return found

    def published(self) -> float:
        return self.pipeline.worker.metric("moodstream_records_published_total")


@pytest.fixture
def formats(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path) -> Iterator[Formats]:
    with local_registry(login=f"{LOGIN}:{PASSWORD}") as registry:
        made = Formats(kafka, redis_server, registry, tmp_path)
        with made.client:
            yield made
        made.pipeline.close()


def test_posts_and_labels_go_through_in_their_formats(formats: Formats, tmp_path: Path) -> None:
    kafka, pipeline, registry = formats.kafka, formats.pipeline, formats.registry
    posts = [{"id": f"a{i}", "text": TEXTS[i % 3], "created_at": NOW} for i in range(30)]
    tweets = formats.avro(POST, *posts)
    feedback = formats.protobuf(*({"id_number": i, "text": TEXTS[i % 3]} for i in range(10)))
    [no_text] = formats.avro(record(("id", "string"), name="Another"), {"id": "a"}, subject="another")
    bad = {
        header(4711) + b"whatever": "unknown_schema",
        b'{"id":1,"text":"x"}': "not_framed",
        tweets[0][:-3]: "invalid_avro",
        no_text: "missing_text",
        feedback[0]: "unusable_schema",
    }
    kafka.produce(formats.tweets, [OutRecord("", b"k", value) for value in (*tweets, *bad, None)])
    kafka.produce(formats.feedback, feedback)

    # The registry is away when the roles start: they live, and wait.
    registry.stop()
    pipeline.worker.start()
    pipeline.trends.start()
    eventually(lambda: pipeline.worker.metric("moodstream_dependency_retries_total") > 0, within_s=60)
    assert pipeline.worker.live()
    assert not pipeline.worker.ready()
    registry.start()
    eventually(lambda: formats.published() == 46, within_s=90, every_s=0.2)

    labels = formats.labels()
    assert {label.id for label in labels} == {f"a{i}" for i in range(30)} | set(range(10))
    assert {label.created_at for label in labels} == {NOW}
    assert formats.dead() == bad
    assert pipeline.worker.metric("moodstream_schemas_fetched_total", outcome="unknown") == 1

    # Each label is a CloudEvent whose id is its input.
    events = kafka.read_all(pipeline.labels)
    headers = [dict(message.headers() or []) for message in events if message.value() is not None]
    assert {one["ce_id"] for one in headers} == {label.input.encode() for label in labels}
    assert Counter((one["ce_type"], one["content-type"]) for one in headers) == {
        (b"moodstream.label", b"application/protobuf"): 40
    }

    # A schema that nobody has seen yet, while the registry is away: the record waits, and is no dead letter.
    more = {
        **POST,
        "fields": [*POST["fields"], {"name": "lang", "type": ["null", "string"], "default": None}],
    }
    new = formats.avro(more, {**posts[0], "id": "new", "lang": "en"})
    retries = pipeline.worker.metric("moodstream_dependency_retries_total", dependency="registry")
    registry.stop()
    kafka.produce(formats.tweets, [*new, *tweets[:1]])
    eventually(
        lambda: (
            pipeline.worker.metric("moodstream_dependency_retries_total", dependency="registry") > retries
        ),
        within_s=60,
    )
    assert pipeline.worker.live()
    registry.start()
    eventually(lambda: formats.published() == 48, within_s=60, every_s=0.2)
    after = formats.labels()
    assert Counter(label.id for label in after)["new"] == 1
    assert [label.lang for label in after if label.id == "new"] == ["en"]
    assert len(formats.dead()) == len(bad)

    # Trends have counted every one of them, and a replay finds the same posts and their labels.
    eventually(lambda: pipeline.trend_total() == 42, within_s=60, every_s=0.2)
    environment = {name: value for name, value in pipeline.environment.items() if "GROUP_ID" not in name}
    arguments = [
        "--topic",
        formats.tweets,
        "--against",
        pipeline.labels,
        "--report",
        str(tmp_path / "report"),
    ]
    done = CliRunner(env=environment).invoke(cli, ["replay", *arguments, "--json"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    report = json.loads(done.stdout.splitlines()[-1])
    assert (report["input"]["posts"], report["earlier"]["by_input"]) == (32, 32)
    for role in (pipeline.worker, pipeline.trends):
        assert PASSWORD not in role.log
