"""JSON Schema in words, for tables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from docs.hooks.markdown import code, plain

Schema = Mapping[str, Any]

_KINDS = {
    "string": "text",
    "integer": "integer",
    "number": "number",
    "boolean": "true or false",
    "null": "null",
}
_FORMATS = {"password": "secret", "path": "path", "date-time": "RFC 3339"}
_WORDS = {
    "minimum": "from {}",
    "exclusiveMinimum": "above {}",
    "maximum": "to {}",
    "exclusiveMaximum": "below {}",
    "multipleOf": "a multiple of {}",
    "minLength": "{} characters or more",
    "maxLength": "{} characters at most",
    "minItems": "{} or more",
    "maxItems": "{} at most",
}


def accepted(schema: Schema, *, nullable: bool = True) -> str:
    """What a value may be, as Markdown: kind, choices, limits.

    Args:
        schema: One of JSON Schema, as pydantic and msgspec write them.
        nullable: Whether null is said; settings have no way to write it.
    """
    if "$ref" in schema:
        return reference(schema["$ref"])
    choices = schema.get("enum") or ([schema["const"]] if "const" in schema else [])
    if choices:
        return ", ".join(code(str(choice)) for choice in choices)
    several = schema.get("anyOf") or schema.get("oneOf") or schema.get("allOf")
    if several:
        shown = [accepted(one) for one in several if nullable or one.get("type") != "null"]
        return " or ".join(dict.fromkeys(shown))
    return ", ".join(part for part in (_kind(schema, nullable), *_limits(schema)) if part)


def _kind(schema: Schema, nullable: bool) -> str:
    kind = schema.get("type")
    if isinstance(kind, list):
        return " or ".join(accepted({**schema, "type": one}) for one in kind if nullable or one != "null")
    if kind == "array":
        return f"list of {accepted(schema['items'])}" if schema.get("items") else "list"
    if kind == "object":
        values = schema.get("additionalProperties")
        return f"object of {accepted(values)}" if isinstance(values, Mapping) and values else "object"
    return _FORMATS.get(schema.get("format", "")) or _KINDS.get(kind or "", "anything")


def _limits(schema: Schema) -> list[str]:
    found = [words.format(f"{schema[name]:,}") for name, words in _WORDS.items() if name in schema]
    return found + ([f"as {code(schema['pattern'])}"] if "pattern" in schema else [])


def reference(path: str) -> str:
    """A link to the heading of the schema on the same page."""
    name = path.rpartition("/")[2]
    return f"[{name}](#{anchor(name)})"


def anchor(name: str) -> str:
    """Of the heading of a schema."""
    return f"schema-{name.lower()}"


def default(value: Any) -> str:
    """A default as it is written on the command line; none where there is none."""
    if value is None or value in ([], ()):
        return ""
    if isinstance(value, str):
        return code(value)
    return code(",".join(map(str, value)) if isinstance(value, list | tuple) else json.dumps(value))


def fields(schema: Schema) -> list[tuple[str, str, str]]:
    """Name, what it may be, and description of each field of an object."""
    required = schema.get("required", [])
    return [
        (
            code(name) + ("" if name in required else " (optional)"),
            accepted(field),
            plain(field.get("description", "")),
        )
        for name, field in schema.get("properties", {}).items()
    ]
