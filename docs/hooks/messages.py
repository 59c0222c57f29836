"""The reference of topics and messages, from the AsyncAPI document that the code makes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from docs.hooks.markdown import code, page, plain, table
from docs.hooks.schemas import Schema, accepted, anchor, fields, reference
from worker.settings import TopicSettings
from worker.topics.plan import Topic, plan

_INTRODUCTION = """
With the usual names of topics; `moodstream topics contract` gives the same for yours, and
[asyncapi.json](../asyncapi.json) is the document for machines (AsyncAPI 3).
"""


def render(topics: TopicSettings, document: Mapping[str, Any]) -> str:
    """The page.

    Args:
        topics: Names and shapes.
        document: AsyncAPI, of the same settings.
    """
    parts = document["components"]
    return page(
        "Topics and messages",
        _INTRODUCTION,
        document["info"]["description"],
        "## Topics",
        table(
            ["topic", "messages", "partitions", "configuration"],
            (_topic(one, document) for one in plan(topics)),
        ),
        "## What moodstream receives and sends",
        table(["operation", "topic", ""], (_operation(one) for one in document["operations"].values())),
        "## Messages",
        *(_message(name, one) for name, one in parts["messages"].items()),
        "## Objects",
        *(_schema(name, one) for name, one in sorted(parts["schemas"].items())),
    )


def _topic(topic: Topic, document: Mapping[str, Any]) -> tuple[str, ...]:
    held = document["channels"].get(topic.name, {}).get("messages", {})
    messages = ", ".join(f"[{name}](#{_anchor(name)})" for name in held) or "of the quality role alone"
    configs = ", ".join(code(f"{name}={value}") for name, value in topic.configs.items())
    return code(topic.name), messages, str(topic.partitions), configs


def _operation(one: Mapping[str, Any]) -> tuple[str, str, str]:
    return one["action"], code(one["channel"]["$ref"].rpartition("/")[2]), plain(one["summary"])


def _message(name: str, message: Mapping[str, Any]) -> str:
    payload: Schema = message["payload"]
    key: Schema = message.get("bindings", {}).get("kafka", {}).get("key", {})
    kind = message.get("contentType", "")
    value = reference(payload["$ref"]) if "$ref" in payload else accepted(payload) if payload else "bytes"
    rows = [
        ("value", f"{value} {code(kind)}".strip(), ""),
        *([("key", accepted(key), plain(key.get("description", "")))] if key else []),
        *((f"header {name}", held, about) for name, held, about in fields(message.get("headers", {}))),
    ]
    head = f'### <span id="{_anchor(name)}"></span>{name}'
    return f"{head}\n\n{plain(message['summary'])}\n\n{table(['part', 'holds', ''], rows)}"


def _anchor(message: str) -> str:
    return f"message-{message.lower()}"


def _schema(name: str, schema: Schema) -> str:
    shown = table(["field", "holds", ""], fields(schema)) or accepted(schema)
    about = plain(str(schema.get("description", "")))
    return f'### <span id="{anchor(name)}"></span>{name}\n\n{about}\n\n{shown}'
