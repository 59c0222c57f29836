"""Values and schemas in Avro and Protobuf, made and read in as few words as tests want."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime
from io import BytesIO
from typing import Any

import fastavro
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2

from worker.errors import BadRecordError
from worker.formats import avro, protobuf, schemas
from worker.formats.frame import header
from worker.types import Post

NOW = datetime(2026, 5, 4, 18, 30, 1, 250_000, tzinfo=UTC)
AVRO_POST = json.dumps(schemas.avro(Post))
HEADER = header(7)


def avro_value(schema: Any, message: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), message)
    return HEADER + out.getvalue()


def record(*fields: tuple[str, Any], name: str = "Post") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": kind} for n, kind in fields]}


def read_avro(schema: Any, value: bytes, *references: Any) -> Post:
    return avro.reader(json.dumps(schema), [json.dumps(one) for one in references], Post)(value)


def kind_of(call: Callable[[], Any]) -> str:
    with pytest.raises(BadRecordError) as caught:
        call()
    return caught.value.kind


def file_of(*fields: tuple[str, int, int], more: Callable[[Any], None] = lambda _: None) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="p.proto", package="p", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )
    message = file.message_type.add(name="Post")
    for name, number, kind in fields:
        message.field.add(name=name, number=number, type=kind, label=FIELD.LABEL_OPTIONAL)
    more(message)
    return file


FIELD = descriptor_pb2.FieldDescriptorProto
POST_FIELDS = (("id", 3, FIELD.TYPE_INT64), ("text", 1, FIELD.TYPE_STRING), ("lang", 2, FIELD.TYPE_STRING))


def text_of(file: Any) -> str:
    return base64.b64encode(file.SerializeToString()).decode()


def message_class(file: Any, name: str = "p.Post") -> Any:
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, wrappers_pb2):
        known = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(known)
        pool.Add(known)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def read_protobuf(file: Any, body: bytes, place: bytes = b"\0") -> Post:
    return protobuf.reader(text_of(file), {}, Post)(HEADER + place + body)


LISTS = record(
    ("id", ["string", "long"]),
    (
        "tags",
        {"type": "array", "items": record(("a", ["null", {"type": "map", "values": "bytes"}]), name="Tag")},
    ),
    ("price", {"type": "bytes", "logicalType": "decimal", "precision": 4}),
    ("kind", {"type": "enum", "name": "Kind", "symbols": ["A"]}),
    ("text", "string"),
)
READERS: dict[str, Callable[[bytes], Post]] = {
    "avro": avro.reader(AVRO_POST, [], Post),
    "avro with lists": avro.reader(json.dumps(LISTS), [], Post),
    "protobuf": protobuf.reader(text_of(schemas.descriptor(Post)), {}, Post),
}
