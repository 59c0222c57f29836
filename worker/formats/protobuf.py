"""From a Protobuf schema to what reads messages of it, and what writes labels.

Messages are read by the descriptor that they were written with, whatever their fields' numbers are, and by
the names that these have. Google's parser bounds how deeply a message may nest.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec
from msgspec import inspect

from worker.errors import BadRecordError
from worker.formats.frame import message_path
from worker.formats.problems import UnusableSchemaError, explained
from worker.formats.schemas import NAMESPACE, NUMBER, descriptor, missing
from worker.types import Label

if TYPE_CHECKING:
    from google.protobuf.descriptor import Descriptor, FieldDescriptor
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

T = TypeVar("T", bound=msgspec.Struct)
_Get = Callable[[Any], Any]
"""From a message to one field's value; `_ABSENT` where it has none."""

_ABSENT = object()
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_LONG = 1 << 63
_MOST_PATHS = 64
"""Messages of one file that are read; more is a producer that makes them up."""


def reader(schema: str, references: Mapping[str, str], kind: type[T]) -> Callable[[bytes], T]:
    """What reads framed messages of a file as a type; fields that the type has not are passed over.

    `schema` and `references` (by the names that they are imported under) are descriptors in base64, as
    `?format=serialized` gives them. The function raises BadRecordError: `invalid_protobuf`,
    `unusable_schema`, and what `explained` says.

    Raises:
        UnusableSchemaError: nothing can be read with it.
        ConfigurationError: protobuf is not installed.
    """
    try:
        from google.protobuf.message import DecodeError
    except ImportError:
        raise missing("protobuf") from None
    file, pool = _pool(schema, references)
    known: dict[tuple[int, ...], tuple[Callable[[bytes], Any], _Get]] = {}

    def message(value: bytes) -> T:
        path, at = message_path(value)
        found = known.get(path)
        if found is None:
            found = _compiled(file, pool, path, kind)
            if len(known) < _MOST_PATHS:
                known[path] = found
        parse, fields = found
        try:
            said = fields(parse(value[at:]))
        except DecodeError:
            raise BadRecordError("invalid_protobuf", "the value does not fit its schema") from None
        except (OverflowError, ValueError):
            raise BadRecordError("invalid_time", "created_at is no time") from None
        try:
            return msgspec.convert(said, kind)
        except msgspec.ValidationError as error:
            raise explained(error) from None

    return message


def writer() -> Callable[[Label], bytes]:
    """What writes a label, with its place in the file and without the rest of its frame.

    Raises:
        ConfigurationError: protobuf is not installed.
    """
    try:
        from google.protobuf.descriptor_pool import DescriptorPool
        from google.protobuf.message_factory import GetMessageClass
    except ImportError:
        raise missing("topics.label_format=protobuf") from None
    pool = DescriptorPool()
    _add_well_known(pool)
    pool.Add(descriptor(Label))
    make = GetMessageClass(pool.FindMessageTypeByName(f"{NAMESPACE}.{Label.__name__}"))

    def message(label: Label) -> bytes:
        fields: dict[str, Any] = msgspec.to_builtins(label, builtin_types=(datetime,))
        for name in ("id", "author_id"):
            number = fields.get(name)
            if isinstance(number, int):
                del fields[name]
                inside = -_LONG <= number < _LONG
                fields[name + NUMBER if inside else name] = number if inside else str(number)
        for name in ("created_at", "labelled_at"):
            since: timedelta = fields[name] - _EPOCH
            seconds = since.days * 86_400 + since.seconds
            fields[name] = {"seconds": seconds, "nanos": since.microseconds * 1000}
        written: bytes = make(**fields).SerializeToString()
        return b"\0" + written

    return message


def is_serialized(schema: str) -> bool:
    """Whether a schema is a descriptor already, as some clients register them, and no .proto text."""
    try:
        _parsed("", schema)
    except UnusableSchemaError:
        return False
    return True


def _parsed(name: str, schema: str) -> FileDescriptorProto:
    from google.protobuf.descriptor_pb2 import FileDescriptorProto
    from google.protobuf.message import DecodeError

    try:
        file = FileDescriptorProto.FromString(base64.b64decode(schema, validate=True))
    except (binascii.Error, DecodeError, ValueError) as error:
        raise UnusableSchemaError("it is no Protobuf descriptor") from error
    if name:
        file.name = name
    return file


def _pool(schema: str, references: Mapping[str, str]) -> tuple[FileDescriptorProto, DescriptorPool]:
    from google.protobuf.descriptor_pool import DescriptorPool

    pool = DescriptorPool()
    _add_well_known(pool)
    file = _parsed("the schema itself", schema)
    try:
        for name, one in references.items():
            if not _is_known(pool, name):  # Confluent's client registers Google's own files too
                pool.Add(_parsed(name, one))
        pool.Add(file)
        pool.FindFileByName(file.name)
    except (TypeError, KeyError) as error:  # what protobuf raises over a file that makes no sense
        raise UnusableSchemaError(
            "its descriptor makes no sense, or a file that it imports is not there"
        ) from error
    return file, pool


def _is_known(pool: DescriptorPool, name: str) -> bool:
    try:
        pool.FindFileByName(name)
    except KeyError:
        return False
    return True


def _add_well_known(pool: DescriptorPool) -> None:
    """What every compiler brings, and no registry has."""
    from google.protobuf import (
        any_pb2,
        descriptor_pb2,
        duration_pb2,
        empty_pb2,
        struct_pb2,
        timestamp_pb2,
        wrappers_pb2,
    )

    for module in (descriptor_pb2, timestamp_pb2, wrappers_pb2, struct_pb2, any_pb2, duration_pb2, empty_pb2):
        file = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(file)
        pool.Add(file)


def _compiled(
    file: FileDescriptorProto, pool: DescriptorPool, path: Sequence[int], kind: type[msgspec.Struct]
) -> tuple[Callable[[bytes], Any], _Get]:
    """What parses the message at a place of its file, and what takes our fields out of it."""
    from google.protobuf.message_factory import GetMessageClass

    names, level = [file.package] if file.package else [], file.message_type
    for index in path:
        if index >= len(level):
            raise BadRecordError(
                "invalid_protobuf", "the schema has no message at the place that the value names"
            )
        names.append(level[index].name)
        level = level[index].nested_type
    found = pool.FindMessageTypeByName(".".join(names))
    try:
        return GetMessageClass(found).FromString, _fields(found, kind)
    except UnusableSchemaError as error:
        raise BadRecordError("unusable_schema", str(error)) from None


def _fields(found: Descriptor, kind: type[msgspec.Struct]) -> _Get:
    """From a message to what `msgspec.convert` takes."""
    there = {field.name: field for field in found.fields}
    getters = [
        (field.encode_name, _getter(there[name], inspect.type_info(field.type), needed=field.required))
        for field in msgspec.structs.fields(kind)
        for name in (field.encode_name, f"{field.encode_name}{NUMBER}")
        if name in there
    ]

    def taken(message: Any) -> dict[str, Any]:
        return {name: value for name, get in getters if (value := get(message)) is not _ABSENT}

    return taken


def _getter(field: FieldDescriptor, wanted: inspect.Type, *, needed: bool) -> _Get:
    """One field's value. One that cannot say whether it is there is absent where it is empty or zero.

    But for a probability that is `needed`, which may well be zero.
    """
    name = field.name
    if field.is_repeated:
        raise UnusableSchemaError(f"its field {name} is a list")
    if field.message_type is not None:
        return _part(field, wanted)
    if field.has_presence:
        return lambda message: getattr(message, name) if message.HasField(name) else _ABSENT
    if needed and field.cpp_type in (field.CPPTYPE_DOUBLE, field.CPPTYPE_FLOAT):
        return lambda message: getattr(message, name)
    return lambda message: getattr(message, name) or _ABSENT


def _part(field: FieldDescriptor, wanted: inspect.Type) -> _Get:
    """A field that is a message: a time, a value that may be absent, or a part of ours."""
    name, kind = field.name, field.message_type
    inner: _Get
    if kind.full_name == "google.protobuf.Timestamp":
        inner = _time
    elif kind.full_name.startswith("google.protobuf.") and kind.full_name.endswith("Value"):
        inner = _wrapped
    elif isinstance(wanted, inspect.StructType):
        inner = _fields(kind, wanted.cls)
    else:
        raise UnusableSchemaError(f"its field {name} is a {kind.full_name}")
    return lambda message: inner(getattr(message, name)) if message.HasField(name) else _ABSENT


def _time(stamp: Any) -> datetime:
    return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanos // 1000)


def _wrapped(box: Any) -> Any:
    return getattr(box, "value", _ABSENT)
