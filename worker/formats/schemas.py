"""The schemas of our own messages in Avro and Protobuf, made from their types. Pure.

They hold names and types and no words: to a registry other words are another schema, and whoever registers
it by hand would have to do so again for each release that says something better.
"""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

import msgspec
from msgspec import inspect

from worker.errors import ConfigurationError
from worker.types import Label, Post

if TYPE_CHECKING:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto

NAMESPACE = "moodstream"
MESSAGES: dict[str, type[msgspec.Struct]] = {"post": Post, "label": Label}
"""Those that have a schema besides JSON's, by their names in the contract."""
NUMBER = "_number"
"""What Protobuf calls the whole number that may stand where a text does: `id` or `id_number`."""
TIMESTAMP = "google/protobuf/timestamp.proto"
_SCALARS = {str: "string", int: "int64", float: "double", bool: "bool"}
_AVRO = {"int64": "long", "bool": "boolean"}


class Field(NamedTuple):
    """One field of a message, whatever it is written in."""

    name: str
    kinds: tuple[str, ...]
    """Of `string`, `int64`, `double`, `bool`, `time`; several where it may be either; or a message's name."""
    optional: bool


class Message(NamedTuple):
    """A message and those that it is made of."""

    name: str
    fields: tuple[Field, ...]
    parts: tuple[Message, ...]


def message(kind: type[msgspec.Struct]) -> Message:
    """What a type consists of."""
    parts: list[Message] = []
    fields = []
    for field in msgspec.structs.fields(kind):
        kinds = list(dict.fromkeys(_kinds(inspect.type_info(field.type), parts)))
        if "time" in kinds:  # what JSON may say as a number is a time here
            kinds = [one for one in kinds if one not in ("int64", "double")]
        fields.append(Field(field.encode_name, tuple(k for k in kinds if k != "null"), not field.required))
    return Message(kind.__name__, tuple(fields), tuple(parts))


def _kinds(info: inspect.Type, parts: list[Message]) -> Iterator[str]:
    match info:
        case inspect.UnionType(types=types):
            for one in types:
                yield from _kinds(one, parts)
        case inspect.StructType(cls=cls):
            parts.append(message(cls))
            yield cls.__name__
        case inspect.StrType() | inspect.LiteralType():
            yield "string"  # labels too: an enumeration could never get an eighth without breaking readers
        case inspect.IntType():
            yield "int64"
        case inspect.FloatType():
            yield "double"
        case inspect.DateTimeType():
            yield "time"
        case inspect.NoneType():
            yield "null"
        case _:
            raise TypeError(f"no schema for {info}")


def avro(kind: type[msgspec.Struct]) -> dict[str, Any]:
    """The Avro schema of a type; times are microseconds since the epoch, in UTC."""
    return {"namespace": NAMESPACE, **_record(message(kind))}


def _record(of: Message) -> dict[str, Any]:
    parts = {part.name: _record(part) for part in of.parts}
    return {"type": "record", "name": of.name, "fields": [_avro_field(field, parts) for field in of.fields]}


def _avro_field(field: Field, parts: dict[str, Any]) -> dict[str, Any]:
    kinds: list[Any] = []
    for kind in field.kinds:
        time = {"type": "long", "logicalType": "timestamp-micros"}
        kinds.append(time if kind == "time" else parts.get(kind) or _AVRO.get(kind, kind))
    if field.optional:
        return {"name": field.name, "type": ["null", *kinds], "default": None}
    return {"name": field.name, "type": kinds[0] if len(kinds) == 1 else kinds}


def protobuf(kind: type[msgspec.Struct]) -> str:
    """The .proto file of a type.

    Fields are numbered in their order, one that may be a text or a whole number twice: so new fields go to
    the end of a type. What is absent is empty.
    """
    whole = message(kind)
    lines = ['syntax = "proto3";', "", f"package {NAMESPACE};", "", f'import "{TIMESTAMP}";']
    for one in (whole, *whole.parts):
        lines += ["", f"message {one.name} {{", *_proto_fields(one), "}"]
    return "\n".join(lines) + "\n"


def _proto_fields(of: Message) -> Iterator[str]:
    number = 0
    for field in of.fields:
        if len(field.kinds) == 1:
            number += 1
            yield f"  {_proto_type(field.kinds[0])} {field.name} = {number};"
            continue
        yield f"  oneof {field.name}_kind {{"
        for kind in field.kinds:
            number += 1
            yield f"    {kind} {field.name}{_suffix(kind)} = {number};"
        yield "  }"


def _suffix(kind: str) -> str:
    return NUMBER if kind == "int64" else ""


def _proto_type(kind: str) -> str:
    return "google.protobuf.Timestamp" if kind == "time" else kind


def descriptor(kind: type[msgspec.Struct]) -> FileDescriptorProto:
    """The same file as `protobuf`, as what a compiler would make of it."""
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto

    numbers = {
        "string": FieldDescriptorProto.TYPE_STRING,
        "int64": FieldDescriptorProto.TYPE_INT64,
        "double": FieldDescriptorProto.TYPE_DOUBLE,
        "bool": FieldDescriptorProto.TYPE_BOOL,
    }
    whole = message(kind)
    file = FileDescriptorProto(
        name=f"{NAMESPACE}/{whole.name.lower()}.proto",
        package=NAMESPACE,
        syntax="proto3",
        dependency=[TIMESTAMP],
    )
    for one in (whole, *whole.parts):
        made = file.message_type.add(name=one.name)
        for field in one.fields:
            place = None
            if len(field.kinds) > 1:
                place = len(made.oneof_decl)
                made.oneof_decl.add(name=f"{field.name}_kind")
            for kind_ in field.kinds:
                added = made.field.add(
                    name=field.name + (_suffix(kind_) if place is not None else ""),
                    number=len(made.field) + 1,
                    label=FieldDescriptorProto.LABEL_OPTIONAL,
                )
                if kind_ in numbers:
                    added.type = numbers[kind_]
                else:
                    added.type = FieldDescriptorProto.TYPE_MESSAGE
                    added.type_name = f".{_proto_type(kind_)}" if kind_ == "time" else f".{NAMESPACE}.{kind_}"
                if place is not None:
                    added.oneof_index = place
    return file


def serialized(kind: type[msgspec.Struct]) -> str:
    """The descriptor in base64: how Confluent's clients register a file, and what every registry gives back.

    Apicurio 3.3 has no usable descriptor of a file that was registered as text.
    """
    return base64.b64encode(descriptor(kind).SerializeToString()).decode()


def missing(what: str) -> ConfigurationError:
    """Where a format is asked for whose library is not installed."""
    return ConfigurationError([f"{what} needs the registry extra: pip install 'moodstream[registry]'"])
