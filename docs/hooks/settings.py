"""The reference of the settings, from the tree that the product reads them with."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import groupby
from typing import Any

from docs.hooks.markdown import code, page, plain, table
from docs.hooks.schemas import Schema, accepted, default
from worker.configuration import known
from worker.settings import ENV_PREFIX, Settings

_INTRODUCTION = """
A setting is given as an environment variable, or with `--set NAME=VALUE`, which is stronger. One that is
unknown or wrong stops the start. Lists are written with commas. `moodstream config` shows what holds now.
"""


def variable(dotted: str) -> str:
    """The environment variable of a setting."""
    return ENV_PREFIX + dotted.upper().replace(".", "__")


def render() -> str:
    """The page: a section for each part of the tree."""
    tree = Settings.model_json_schema()
    sections = groupby(known(), key=lambda dotted: dotted.rpartition(".")[0])
    return page("Settings", _INTRODUCTION, *(_section(tree, name, list(of_it)) for name, of_it in sections))


def _section(tree: Schema, name: str, dotted: list[str]) -> str:
    rows = [_row(one, _at(tree, one)) for one in dotted]
    about = plain(str(_at(tree, name).get("description", "")))
    return f"## {name}\n\n{about}\n\n{table(['setting', 'accepted', 'default', ''], rows)}"


def _row(dotted: str, schema: Schema) -> tuple[str, str, str, str]:
    example = schema.get("examples", [""])[0]
    shown = " Example: " + code(str(example)) if example else ""
    return (
        f"{code(dotted)}<br>{code(variable(dotted))}",
        accepted(schema, nullable=False),
        default(schema.get("default")),
        plain(schema.get("description", "")) + shown,
    )


def _at(tree: Schema, dotted: str) -> Mapping[str, Any]:
    """The schema of a setting or section, with what a reference leads to put in its place."""
    node = tree
    for part in dotted.split("."):
        node = node["properties"][part]
        if "$ref" in node:
            node = tree["$defs"][node["$ref"].rpartition("/")[2]]
    return node
