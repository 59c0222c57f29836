"""What a schema registry answers us and Confluent's own client: the one in memory, and a real one.

`make registry-proof` starts a real Apicurio Registry and runs this file against it, with its address in
MOODSTREAM_TEST_REGISTRY.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from confluent_kafka.schema_registry import Schema, SchemaReference, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.protobuf import ProtobufDeserializer, ProtobufSerializer
from confluent_kafka.serialization import MessageField, SerializationContext
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

from tests.support.kafka import unique
from tests.support.registry import local_registry
from worker.clock import SystemClock
from worker.configuration import load
from worker.formats.opened import Formats, for_command
from worker.formats.registry import NotThereError, Registry, RejectedError
from worker.formats.schemas import NAMESPACE, avro, descriptor, protobuf, serialized
from worker.settings import Format, RegistrySettings
from worker.types import Label, Post, Scores

NOW = datetime(2026, 5, 4, 18, 30, 1, 250_000, tzinfo=UTC)
LABEL = Label(
    id=7,
    source="web",
    label="joy",
    score=0.75,
    scores=Scores(0.05, 0.75, 0.05, 0.05, 0.05, 0.05),
    neutral=0.0,
    model="m@1",
    created_at=NOW,
    labelled_at=NOW,
    input="tweets/0/1",
    author_id="ann",
    text="what a day",
)
FORMATS: list[Format] = ["avro", "protobuf"]


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    given = os.environ.get("MOODSTREAM_TEST_REGISTRY")
    if given:
        yield given
        return
    with local_registry() as registry:
        yield registry.url


@pytest.fixture
def registry(url: str) -> Registry:
    return Registry(RegistrySettings(url=url))


@pytest.fixture
def confluent(url: str) -> Iterator[Any]:
    with SchemaRegistryClient({"url": url}) as client:
        yield client


@pytest.fixture
def topic() -> str:
    return unique("tweets")


def opened(url: str, topic: str, kind: Format) -> Formats:
    values = {
        "topics.inputs": topic,
        "topics.input_formats": f"{topic}={kind}",
        "topics.label_format": kind,
        "registry.url": url,
    }
    return for_command(load(values, {}), SystemClock(), 10.0)


def value_of(topic: str) -> SerializationContext:
    return SerializationContext(topic, MessageField.VALUE)


def test_it_knows_both_formats(registry: Registry) -> None:
    assert {"AVRO", "PROTOBUF"} <= set(registry.types())


@pytest.mark.parametrize(
    ("kind", "schema"),
    [("AVRO", json.dumps(avro(Label))), ("PROTOBUF", protobuf(Label)), ("PROTOBUF", serialized(Label))],
)
def test_a_schema_is_registered_once_and_found(
    registry: Registry, topic: str, kind: Any, schema: str
) -> None:
    subject = f"{topic}-value"
    with pytest.raises(NotThereError):
        registry.lookup(subject, kind, schema)
    number = registry.register(subject, kind, schema)
    assert registry.register(subject, kind, schema) == number
    assert registry.lookup(subject, kind, schema) == number
    assert registry.schema(number).type == kind
    assert registry.version(subject, 1).type == kind
    assert registry.fits(subject, kind, schema).compatible


def test_what_is_not_there_is_said_so(registry: Registry, topic: str) -> None:
    with pytest.raises(NotThereError):
        registry.schema(2_000_000_000)
    with pytest.raises(NotThereError):
        registry.version(f"{topic}-value", 1)


def test_a_subject_that_is_not_there_takes_any_schema(registry: Registry, topic: str) -> None:
    """Confluent's says that it is not there, Apicurio's that it fits."""
    with suppress(NotThereError):
        assert registry.fits(f"{topic}-value", "AVRO", '"string"').compatible


def test_what_is_no_schema_is_rejected(registry: Registry, topic: str) -> None:
    with pytest.raises(RejectedError):
        registry.register(f"{topic}-value", "AVRO", '{"type": "nonsense"}')


def test_a_schema_that_does_not_fit_is_told(
    registry: Registry, topic: str, backward: Callable[[str], None]
) -> None:
    subject = f"{topic}-value"
    registry.register(subject, "AVRO", json.dumps(avro(Post)))
    backward(subject)
    other = json.dumps({**avro(Post), "fields": [{"name": "more", "type": "string"}]})
    assert not registry.fits(subject, "AVRO", other).compatible
    with pytest.raises(RejectedError):
        registry.register(subject, "AVRO", other)


@pytest.fixture
def backward(url: str, confluent: Any) -> Callable[[str], None]:
    """Sets a subject's compatibility; the one in memory has no other."""

    def set_it(subject: str) -> None:
        if os.environ.get("MOODSTREAM_TEST_REGISTRY"):
            confluent.set_compatibility(subject, "BACKWARD")

    return set_it


POSTS = {
    "type": "record",
    "name": "Tweet",
    "namespace": "com.example",
    "doc": "Somebody else's.",
    "fields": [
        {"name": "likes", "type": "int"},
        {"name": "tags", "type": {"type": "array", "items": "string"}},
        {"name": "text", "type": "string"},
        {"name": "id", "type": "long"},
        {"name": "created_at", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "lang", "type": ["null", "string"], "default": None},
    ],
}


def test_posts_of_confluents_avro_serializer_are_read(url: str, topic: str, confluent: Any) -> None:
    write: Any = AvroSerializer(confluent, json.dumps(POSTS))
    post = {"likes": 3, "tags": ["a", "b"], "text": "so happy", "id": 9, "created_at": NOW, "lang": None}
    read = opened(url, topic, "avro").readers()[topic]
    assert read(write(post, value_of(topic))) == Post(id=9, text="so happy", created_at=NOW)


def test_a_schema_in_several_parts_is_put_together(url: str, topic: str, confluent: Any) -> None:
    part = {
        "type": "record",
        "name": "Lang",
        "namespace": "com.example",
        "fields": [{"name": "a", "type": "int"}],
    }
    whole = {
        "type": "record",
        "name": "Tweet",
        "namespace": "com.example",
        "fields": [
            {"name": "id", "type": "string"},
            {"name": "said", "type": "com.example.Lang"},
            {"name": "text", "type": "string"},
        ],
    }
    confluent.register_schema(f"{topic}-part", Schema(json.dumps(part), "AVRO"))
    reference = SchemaReference("com.example.Lang", f"{topic}-part", 1)
    write: Any = AvroSerializer(confluent, Schema(json.dumps(whole), "AVRO", [reference]))
    value = write({"id": "a", "said": {"a": 4}, "text": "so happy"}, value_of(topic))
    assert opened(url, topic, "avro").readers()[topic](value) == Post(id="a", text="so happy")


def tweet_class() -> Any:
    """A message of somebody else: another order, other numbers, nested in another message."""
    field = descriptor_pb2.FieldDescriptorProto
    file = descriptor_pb2.FileDescriptorProto(
        name="example/tweets.proto",
        package="example",
        syntax="proto3",
        dependency=["google/protobuf/timestamp.proto"],
    )
    file.message_type.add(name="First")
    outer = file.message_type.add(name="Outer")
    outer.nested_type.add(name="Other")
    tweet = outer.nested_type.add(name="Tweet")
    for name, number, kind in (
        ("likes", 1, field.TYPE_INT32),
        ("text", 5, field.TYPE_STRING),
        ("id", 9, field.TYPE_INT64),
    ):
        tweet.field.add(name=name, number=number, type=kind, label=field.LABEL_OPTIONAL)
    tweet.field.add(name="tags", number=2, type=field.TYPE_STRING, label=field.LABEL_REPEATED)
    tweet.field.add(
        name="created_at",
        number=20,
        type=field.TYPE_MESSAGE,
        type_name=".google.protobuf.Timestamp",
        label=field.LABEL_OPTIONAL,
    )
    return made(file, "example.Outer.Tweet")


def made(file: Any, name: str) -> Any:
    pool = descriptor_pool.DescriptorPool()
    known = descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(known)
    pool.Add(known)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def test_posts_of_confluents_protobuf_serializer_are_read(url: str, topic: str, confluent: Any) -> None:
    tweet = tweet_class()
    write: Any = ProtobufSerializer(tweet, confluent)
    message = tweet(likes=3, text="so happy", id=9, tags=["a"])
    message.created_at.FromDatetime(NOW)
    read = opened(url, topic, "protobuf").readers()[topic]
    assert read(write(message, value_of(topic))) == Post(id=9, text="so happy", created_at=NOW)


def test_labels_in_avro_are_read_by_confluents_deserializer(url: str, topic: str, confluent: Any) -> None:
    write = opened(url, topic, "avro").encoder(topic, lambda: True)
    assert write is not None
    read: Any = AvroDeserializer(confluent)
    assert msgspec.convert(read(write(LABEL), value_of(topic)), Label) == LABEL


@pytest.mark.xfail(
    "MOODSTREAM_TEST_REGISTRY" in os.environ,
    reason="Apicurio 3.3.3 fails when it is asked for the descriptor of what was registered as one",
)
def test_labels_in_protobuf_are_read_by_confluents_deserializer(url: str, topic: str, confluent: Any) -> None:
    write = opened(url, topic, "protobuf").encoder(topic, lambda: True)
    assert write is not None
    read: Any = ProtobufDeserializer(made(descriptor(Label), f"{NAMESPACE}.Label"), {}, confluent)
    label = read(write(LABEL), value_of(topic))
    assert (label.id_number, label.author_id, label.label, label.scores.joy) == (7, "ann", "joy", 0.75)
    assert label.created_at.ToDatetime(UTC) == NOW


@pytest.mark.parametrize("kind", FORMATS)
def test_labels_are_read_by_us(url: str, topic: str, kind: Format) -> None:
    formats = opened(url, topic, kind)
    write = formats.encoder(topic, lambda: True)
    assert write is not None
    assert opened(url, topic, kind).labels(Label)(write(LABEL)) == LABEL
    assert formats.labels(Label)(msgspec.json.encode(LABEL)) == LABEL
