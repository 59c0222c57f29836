"""From an Avro schema to what reads messages of it, and what writes labels.

fastavro believes its schema: one that refers to itself lets a hostile message recurse until the process is
gone (a few thousand bytes were enough for 1.13), one with items that take no bytes lets it count for ever. So
schemas are looked at before they are used, and lists that nobody asks for are stepped over, not built.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from io import BytesIO
from typing import Any, TypeVar

import msgspec

from worker.errors import BadRecordError
from worker.formats.frame import HEADER
from worker.formats.problems import UnusableSchemaError, explained
from worker.formats.schemas import avro, missing
from worker.types import Label

T = TypeVar("T", bound=msgspec.Struct)

_MOST_FIELDS = 10_000
"""Fields of a message with all that it is made of: far more than any has, and few enough to be built."""
_TIMES = ("timestamp-millis", "timestamp-micros", "local-timestamp-millis", "local-timestamp-micros")
"""Logical types that mean something here; all others would cost time and only come as another object."""
_LONG = 1 << 63


def reader(schema: str, references: Sequence[str], kind: type[T]) -> Callable[[bytes], T]:
    """What reads framed messages of a schema as a type; fields that the type has not are passed over.

    `references`: the schemas that it takes names from, each after those that it itself needs. The function
    raises BadRecordError: `invalid_avro`, and what `explained` says.

    Raises:
        UnusableSchemaError: nothing can be read with it.
        ConfigurationError: fastavro is not installed.
    """
    try:
        import fastavro
    except ImportError:
        raise missing("avro") from None
    named: dict[str, Any] = {}
    try:
        for one in (*references, schema):
            raw = _plain(msgspec.json.decode(one))
            parsed = fastavro.parse_schema(raw, named)
    except (msgspec.MsgspecError, ValueError, KeyError, TypeError, RecursionError, AttributeError) as error:
        raise UnusableSchemaError("it is no Avro schema") from error
    except fastavro.schema.SchemaParseException as error:
        raise UnusableSchemaError(f"it is no Avro schema: {error}") from error
    _Look(named).at(parsed, ())
    wanted = _projection(raw, parsed, named, kind)
    read, convert = fastavro.schemaless_reader, msgspec.convert

    def message(value: bytes) -> T:
        source = BytesIO(value)
        source.seek(HEADER)
        try:
            found = read(source, parsed, wanted)
        except Exception as error:
            # Whatever: what goes wrong with bytes that do not fit their schema has no common class.
            raise BadRecordError(
                "invalid_avro", f"the value does not fit its schema: {_why(error)}"
            ) from None
        try:
            return convert(found, kind)
        except msgspec.ValidationError as error:
            raise explained(error) from None

    return message


def writer() -> Callable[[Label], bytes]:
    """What writes a label without its frame.

    Raises:
        ConfigurationError: fastavro is not installed.
    """
    try:
        from fastavro import parse_schema, schemaless_writer
    except ImportError:
        raise missing("topics.label_format=avro") from None
    schema = parse_schema(avro(Label))

    def message(label: Label) -> bytes:
        fields = msgspec.to_builtins(label, builtin_types=(datetime,))
        for name in ("id", "author_id"):
            number = fields.get(name)
            if isinstance(number, int) and not -_LONG <= number < _LONG:
                fields[name] = str(number)  # JSON's numbers have no end
        out = BytesIO()
        schemaless_writer(out, schema, fields)
        return out.getvalue()

    return message


def _why(error: Exception) -> str:
    """Without the bytes or the text, which some messages quote."""
    return "it ends too soon" if isinstance(error, EOFError) else type(error).__name__


def _plain(node: Any) -> Any:
    """A schema without the logical types that nothing here reads."""
    if isinstance(node, list):
        return [_plain(one) for one in node]
    if not isinstance(node, dict):
        return node
    if node.get("logicalType") not in (None, *_TIMES):
        node = {name: value for name, value in node.items() if name != "logicalType"}
    deeper = ("type", "items", "values", "fields")
    return {name: _plain(value) if name in deeper else value for name, value in node.items()}


class _Look:
    """Walks a parsed schema once and refuses what a message could abuse."""

    def __init__(self, named: Mapping[str, Any]) -> None:
        self._named = named
        self._known: dict[str, tuple[bool, int]] = {}
        """By named type that was walked: whether it may take no bytes, and how many fields it has."""

    def at(self, node: Any, path: tuple[str, ...]) -> tuple[bool, int]:
        """Whether a message of `node` may take no bytes, and how many fields it is made of.

        `path`: the named types that it lies in.
        """
        if isinstance(node, str):
            return self._name(node, path) if node in self._named else (node == "null", 1)
        if isinstance(node, list):
            return False, 1 + sum(self.at(one, path)[1] for one in node)
        kind = node["type"]
        if kind in ("array", "map"):
            empty, n = self.at(node["items" if kind == "array" else "values"], path)
            if empty and kind == "array":
                raise UnusableSchemaError("a list in it has items that take no bytes")
            return False, n + 1
        if kind in ("record", "error"):
            return self._name(node["name"], path)
        if kind == "enum":
            return False, 1
        return (node["size"] == 0, 1) if kind == "fixed" else self.at(kind, path)

    def _name(self, name: str, path: tuple[str, ...]) -> tuple[bool, int]:
        if name in path:
            raise UnusableSchemaError(f"{name} refers to itself")
        if name not in self._known:
            node = self._named[name]
            if node["type"] not in ("record", "error"):
                self._known[name] = self.at(node, path)
                return self._known[name]
            found = [self.at(field["type"], (*path, name)) for field in node["fields"]]
            n = 1 + sum(fields for _, fields in found)
            if n > _MOST_FIELDS:
                raise UnusableSchemaError(f"{name} has more than {_MOST_FIELDS} fields")
            self._known[name] = all(empty for empty, _ in found), n
        return self._known[name]


def _projection(raw: Any, parsed: Any, named: Mapping[str, Any], kind: type[msgspec.Struct]) -> Any:
    """What of a record is built: all where that is harmless, else the type's own fields; None means all.

    To step over costs twice the time of building, but a list of a million small things costs no memory.
    """
    from fastavro import parse_schema
    from fastavro.schema import SchemaParseException

    if not isinstance(parsed, dict) or parsed.get("type") not in ("record", "error"):
        raise UnusableSchemaError("it is no record")
    listing = {field["name"] for field in parsed["fields"] if _lists(field["type"], named)}
    if not listing:
        return None
    ours = {field.encode_name for field in msgspec.structs.fields(kind)}
    if listing & ours:
        raise UnusableSchemaError(f"its field {min(listing & ours)} is or holds a list")
    try:
        return parse_schema(raw | {"fields": [field for field in raw["fields"] if field["name"] in ours]}, {})
    except SchemaParseException as error:
        raise UnusableSchemaError("a field of ours has a type that another field defines") from error


def _lists(node: Any, named: Mapping[str, Any]) -> bool:
    """Whether a list or a map is in it; that it ends is known by now."""
    if isinstance(node, str):
        return node in named and _lists(named[node], named)
    if isinstance(node, list):
        return any(_lists(one, named) for one in node)
    kind = node["type"]
    if kind in ("record", "error"):
        return any(_lists(field["type"], named) for field in node["fields"])
    return kind in ("array", "map") or (not isinstance(kind, str) and _lists(kind, named))
