"""JSON Schema (2020-12) of message types, with the words of their docstrings. Pure."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable
from typing import Any

import msgspec

Schema = dict[str, Any]


def schemas_of(types: Iterable[type[msgspec.Struct]], where: str) -> dict[str, Schema]:
    """By name, of these types and of all that they are made of.

    Args:
        types: Message types.
        where: How a schema is referred to, such as `#/$defs/{name}`.
    """
    kinds = list(types)
    _, found = msgspec.json.schema_components(kinds, ref_template=where)
    for kind in _with_parts(kinds):
        _describe(kind, found[kind.__name__])
    return found


def schema_of(kind: type[msgspec.Struct]) -> Schema:
    """One type's schema, that stands by itself."""
    parts = schemas_of([kind], "#/$defs/{name}")
    whole = parts.pop(kind.__name__)
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **whole,
        **({"$defs": parts} if parts else {}),
    }


def _with_parts(types: Iterable[type[msgspec.Struct]]) -> set[type[msgspec.Struct]]:
    found: set[type[msgspec.Struct]] = set()
    for kind in types:
        found |= {kind, *_structs(msgspec.inspect.type_info(kind))}
    return found


def _structs(info: object) -> Iterable[type[msgspec.Struct]]:
    """Every struct that a type holds; ours hold themselves nowhere."""
    if isinstance(info, msgspec.inspect.StructType):
        yield info.cls
        for field in info.fields:
            yield from _structs(field.type)
    elif isinstance(info, msgspec.inspect.UnionType):
        for one in info.types:
            yield from _structs(one)


def _describe(kind: type[msgspec.Struct], schema: Schema) -> None:
    """Give the fields their docstrings, which Python keeps only in the source."""
    names = dict(zip(kind.__struct_fields__, kind.__struct_encode_fields__, strict=True))
    [of_class] = ast.parse(textwrap.dedent(inspect.getsource(kind))).body
    assert isinstance(of_class, ast.ClassDef)  # noqa: S101 - it is the source of a class
    for field, behind in zip(of_class.body, of_class.body[1:], strict=False):
        if (
            isinstance(field, ast.AnnAssign)
            and isinstance(field.target, ast.Name)
            and isinstance(behind, ast.Expr)
            and isinstance(behind.value, ast.Constant)
        ):
            words = " ".join(str(behind.value.value).split())
            schema["properties"][names[field.target.id]]["description"] = words
    schema["description"] = inspect.cleandoc(kind.__doc__ or "")
