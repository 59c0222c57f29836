"""What stands on the topics, as an AsyncAPI 3.0 document: for whoever reads or writes beside us. Pure.

A topic in Avro or Protobuf has the message of that format, with its own schema: `postAvro` for `post`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from worker.control.messages import Pause, Promotion, Report, Shadowing
from worker.formats.schemas import MESSAGES, avro, protobuf
from worker.settings import Format, Settings, TopicSettings
from worker.stream.cloud_events import CONTENT_TYPES, LABELLED
from worker.stream.dead_letters import PREFIX
from worker.stream.outcome import INPUT
from worker.topics.plan import Topic, plan
from worker.topics.schemas import Schema, schemas_of
from worker.tracing.carrier import TRACEPARENT, TRACESTATE
from worker.types import Alert, Correction, Label, Post

TYPES: Mapping[str, type[msgspec.Struct]] = {
    "post": Post,
    "label": Label,
    "correction": Correction,
    "alert": Alert,
    "promotion": Promotion,
    "shadowing": Shadowing,
    "pause": Pause,
    "report": Report,
}
"""The messages that are JSON, by their names in the document."""
_SCHEMA_FORMATS = {
    "avro": "application/vnd.apache.avro+json;version=1.9.0",
    "protobuf": "application/vnd.google.protobuf;version=3",
}

_BINDING = "0.5.0"
_SCHEMAS = "#/components/schemas/{name}"
_ANY_SCHEMA = "A post: by any schema of the registry with fields that are called as in this one."
_AS_THE_POST = "That of the post, unchanged; none where the post has none."
_HEADERS = {
    "topic": "Topic of the record.",
    "partition": "Partition of the record.",
    "offset": "Offset of the record.",
    "timestamp": "Kafka's timestamp of the record, in milliseconds since the epoch.",
    "error": "What is wrong: a kind of few.",
    "message": "What is wrong: a sentence.",
    "worker": "Version of the worker that found it.",
    "model": "`name@version` of the model that was to answer; absent where none was.",
    "time": "When it was found (RFC 3339).",
    "cut": "Parts that did not fit, with commas between: `value`, `headers`, `key`; absent where all did.",
}
_NOT_ALWAYS = ("model", "cut")
_TRACE = {
    TRACEPARENT: "Where the record brought a trace: the span behind which it goes on (W3C Trace Context).",
    TRACESTATE: "What the record brought beside it.",
}
"""On labels and tombstones of a worker that traces (`tracing.endpoint`)."""


def asyncapi(settings: Settings, version: str) -> dict[str, Any]:
    """The document for topics as these settings have them.

    Args:
        settings: Names of topics, partitions, retention, and where Kafka is.
        version: Of moodstream.
    """
    topics = settings.topics
    channels = _channels(topics)
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "moodstream",
            "version": version,
            "description": "The emotion of every post, as it is written. Read with "
            "`isolation.level=read_committed`: what was rolled back stays in the log.",
            "license": {"name": "Apache-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": settings.kafka.bootstrap_servers,
                "protocol": "kafka" if settings.kafka.security_protocol == "plaintext" else "kafka-secure",
            }
        },
        "channels": channels,
        "operations": _operations(topics),
        "components": {
            "messages": _with_events(settings, _messages() | _in_other_formats(settings)),
            "schemas": schemas_of(TYPES.values(), _SCHEMAS),
        },
    }


def _channels(topics: TopicSettings) -> dict[str, Any]:
    """One for each topic that others may read or write."""
    of_inputs = {
        name: (_named("post", topics.format_of.get(name, "json")), "deletion") for name in topics.inputs
    }
    held = of_inputs | {
        topics.labels: (_named("label", topics.label_format), "deletion"),
        topics.dead_letters: ("deadLetter",),
        topics.corrections: ("correction",),
        topics.alerts: ("alert",),
        topics.control: ("promotion", "shadowing", "pause", "report", "unset"),
    }
    return {topic.name: _channel(topic, held[topic.name]) for topic in plan(topics) if topic.name in held}


def _channel(topic: Topic, messages: tuple[str, ...]) -> dict[str, Any]:
    configs = topic.configs
    told = {"cleanup.policy": [configs["cleanup.policy"]]}
    numbers = {name: int(configs[name]) for name in ("retention.ms", "max.message.bytes") if name in configs}
    return {
        "address": topic.name,
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "replicas": topic.replication_factor,
                "topicConfiguration": told | numbers,
                "bindingVersion": _BINDING,
            }
        },
    }


def _operations(topics: TopicSettings) -> dict[str, Any]:
    return {
        **{
            f"receive-{name}": _operation("receive", name, "The worker labels what is written here.")
            for name in topics.inputs
        },
        "send-labels": _operation(
            "send", topics.labels, "One label for each post, in the transaction that commits its offset."
        ),
        "send-dead-letters": _operation(
            "send", topics.dead_letters, "What cannot be labelled, and corrections that cannot be counted."
        ),
        "send-alerts": _operation("send", topics.alerts, "Spikes and drift."),
        "receive-corrections": _operation("receive", topics.corrections, "People's corrections of labels."),
        "receive-control": _operation("receive", topics.control, "What operators set."),
    }


def _operation(action: str, topic: str, summary: str) -> dict[str, Any]:
    return {"action": action, "channel": {"$ref": f"#/channels/{topic}"}, "summary": summary}


def _messages() -> dict[str, Any]:
    text: Schema = {"type": "string"}
    return {
        "post": _json(
            "post",
            "A post. Those of X API v2, Bluesky Jetstream and Mastodon are taken as they come, too.",
            {**text, "description": "Posts of one key stay in order. A deletion names its post by it."},
        ),
        "label": _json("label", "What a post expresses.", {**text, "description": _AS_THE_POST})
        | {"headers": _headers(_TRACE)},
        "deletion": {
            "title": "Deletion",
            "summary": "A null value: the post of this key was taken back, and its label with it.",
            "headers": _headers({INPUT: "`topic/partition/offset` of the deletion."} | _TRACE),
            "payload": {"type": "null"},
            "bindings": _key({**text, "description": _AS_THE_POST}),
        },
        "deadLetter": {
            "title": "DeadLetter",
            "summary": "A record as it came, byte for byte, with what is wrong with it in the headers.",
            "contentType": "application/octet-stream",
            "headers": {
                "type": "object",
                "properties": {
                    PREFIX + name: {**text, "description": words} for name, words in _HEADERS.items()
                },
                "required": [PREFIX + name for name in _HEADERS if name not in _NOT_ALWAYS],
            },
            "payload": {},
            "bindings": _key({**text, "description": "That of the record."}),
        },
        "correction": _json("correction", "What a person says that a post expresses."),
        "alert": _json("alert", "A spike or a drift.", {**text, "description": "The alert's `id`."}),
        "promotion": _json("promotion", "Which model serves.", {"const": "model"}),
        "shadowing": _json("shadowing", "Which model is asked beside it.", {"const": "shadow"}),
        "pause": _json("pause", "Whether records are taken.", {"const": "pause"}),
        "report": _json("report", "What a worker says of itself.", {**text, "pattern": "^worker/"}),
        "unset": {
            "title": "Unset",
            "summary": "A null value: what the key had set is set no more.",
            "payload": {"type": "null"},
            "bindings": _key({**text, "pattern": "^(model|shadow|pause|worker/.+)$"}),
        },
    }


def _headers(words: Mapping[str, str]) -> Schema:
    """Headers that may be there."""
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": said} for name, said in words.items()},
    }


def _named(name: str, kind: Format) -> str:
    """What a message is called in a format."""
    return name if kind == "json" else f"{name}{kind.capitalize()}"


def _in_other_formats(settings: Settings) -> dict[str, Any]:
    """The messages of topics that are not JSON, as these settings have them."""
    topics = settings.topics
    wanted = [("post", kind) for kind in topics.format_of.values()] + [("label", topics.label_format)]
    messages = _messages()
    return {
        _named(name, kind): _in_format(messages[name], name, kind) for name, kind in wanted if kind != "json"
    }


def _with_events(settings: Settings, messages: dict[str, Any]) -> dict[str, Any]:
    """With the headers of CloudEvents, where labels have them."""
    if settings.worker.cloud_events == "off":
        return messages
    text: Schema = {"type": "string"}
    of_event = {
        "ce_specversion": {"const": "1.0"},
        "ce_id": {**text, "description": "`topic/partition/offset` of the input."},
        "ce_source": {"const": settings.worker.cloud_events_source},
        "ce_type": {"const": LABELLED},
        "ce_time": {**text, "format": "date-time", "description": "When it was labelled."},
        "content-type": {"const": CONTENT_TYPES[settings.topics.label_format]},
    }
    name = _named("label", settings.topics.label_format)
    headers = {"type": "object", "properties": of_event, "required": list(of_event)}
    return messages | {name: messages[name] | {"headers": headers}}


def _in_format(message: dict[str, Any], name: str, kind: Format) -> dict[str, Any]:
    """A message with its schema in another format, framed as Confluent's serializers do."""
    of_type = MESSAGES[name]
    framed = {
        "schemaIdLocation": "payload",
        "schemaIdPayloadEncoding": "confluent",
        "schemaLookupStrategy": "TopicIdStrategy",
    }
    summary = message["summary"] if name == "label" else _ANY_SCHEMA
    return message | {
        "summary": summary,
        "contentType": CONTENT_TYPES[kind],
        "payload": {
            "schemaFormat": _SCHEMA_FORMATS[kind],
            "schema": avro(of_type) if kind == "avro" else protobuf(of_type),
        },
        "bindings": {"kafka": message["bindings"]["kafka"] | framed},
    }


def _json(name: str, summary: str, key: Schema | None = None) -> dict[str, Any]:
    of_type = TYPES[name].__name__
    found: dict[str, Any] = {
        "title": of_type,
        "summary": summary,
        "contentType": "application/json",
        "payload": {"$ref": _SCHEMAS.format(name=of_type)},
    }
    return found if key is None else found | {"bindings": _key(key)}


def _key(schema: Schema) -> dict[str, Any]:
    return {"kafka": {"key": schema, "bindingVersion": _BINDING}}
