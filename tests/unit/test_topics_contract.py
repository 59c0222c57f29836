"""The AsyncAPI document and the JSON Schemas: current, whole, and of one mind with the decoders."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from jsonschema import Draft202012Validator, ValidationError

from tests.support.command import moodstream
from worker.configuration import load
from worker.control import messages as control
from worker.topics.contract import TYPES, asyncapi
from worker.topics.plan import plan
from worker.topics.schemas import schema_of
from worker.types import Alert, AlertWindow, Correction, Label, Scores

DOCUMENT = Path(__file__).parents[2] / "docs" / "asyncapi.json"
NOW = datetime(2026, 5, 4, 18, tzinfo=UTC)


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    ended = moodstream(["topics", "contract"], {})
    assert ended.code == 0, ended.output
    found: dict[str, Any] = json.loads(ended.stdout)
    return found


def test_the_document_beside_the_code_is_current(document: dict[str, Any]) -> None:
    """Who changes a message sees here what others will: `moodstream topics contract > docs/asyncapi.json`."""
    assert json.loads(DOCUMENT.read_text()) == document


def test_every_reference_leads_somewhere(document: dict[str, Any]) -> None:
    references = re.findall(r'"\$ref": "#/([^"]+)"', json.dumps(document))
    assert len(references) > 20
    for reference in references:
        at: Any = document
        for part in reference.split("/"):
            assert part in at, reference
            at = at[part]


def test_channels_are_the_topics_as_they_are_created(document: dict[str, Any]) -> None:
    """All but the quality role's own table."""
    topics = load(env={}).topics
    wanted = {topic.name: topic for topic in plan(topics) if topic.name != topics.judgements}
    assert document["channels"].keys() == wanted.keys()
    for name, topic in wanted.items():
        kafka = document["channels"][name]["bindings"]["kafka"]
        assert (kafka["partitions"], kafka["replicas"]) == (topic.partitions, topic.replication_factor)
        for config, value in kafka["topicConfiguration"].items():
            assert topic.configs[config] == (value[0] if isinstance(value, list) else str(value))


def test_names_of_the_settings_are_the_ones_told() -> None:
    flags = {"topics.labels": "moods", "kafka.security_protocol": "ssl", "kafka.bootstrap_servers": "k:1"}
    found = asyncapi(load(flags=flags, env={}), "1")
    assert found["operations"]["send-labels"]["channel"] == {"$ref": "#/channels/moods"}
    assert found["servers"]["kafka"] == {"host": "k:1", "protocol": "kafka-secure"}


def test_topics_in_other_formats_say_so() -> None:
    flags = {
        "topics.input_formats": "tweets=avro",
        "topics.label_format": "protobuf",
        "registry.url": "http://r:1",
        "worker.cloud_events": "on",
    }
    found = asyncapi(load(flags=flags, env={}), "1")
    assert set(found["channels"]["tweets"]["messages"]) == {"postAvro", "deletion"}
    assert set(found["channels"]["feedback"]["messages"]) == {"post", "deletion"}
    assert set(found["channels"]["emotion-labels"]["messages"]) == {"labelProtobuf", "deletion"}
    post, label = (found["components"]["messages"][name] for name in ("postAvro", "labelProtobuf"))
    assert post["payload"]["schemaFormat"].startswith("application/vnd.apache.avro+json")
    assert post["payload"]["schema"]["name"] == "Post"
    assert label["contentType"] == "application/protobuf"
    assert "message Label {" in label["payload"]["schema"]
    assert label["bindings"]["kafka"]["schemaIdPayloadEncoding"] == "confluent"
    assert "ce_id" in label["headers"]["required"]
    assert "headers" not in post


MESSAGES: dict[str, msgspec.Struct] = {
    "label": Label(
        id=1, source="web", label="joy", score=0.9, scores=Scores(0.0, 0.9, 0.1, 0.0, 0.0, 0.0), neutral=0.1,
        model="m@1", created_at=NOW, labelled_at=NOW, input="tweets/0/1", lang="en", text="x",
    ),
    "correction": Correction(id="1", label="joy", label_ref="emotion-labels/0/1", by="ada", at=NOW),
    "alert": Alert(
        id="a", kind="emotion", window=AlertWindow(0, 3600), value=3, baseline=1.0, ratio=3.0, n=9,
        emotion="joy", terms=("x",), samples=(1, "b"), at=NOW,
    ),
    "promotion": control.Promotion(model="m@1", at=NOW),
    "shadowing": control.Shadowing(model="m@1", share=0.5, at=NOW),
    "pause": control.Pause(paused=True, at=NOW),
    "report": control.Report(
        worker="w", model="m@1", at=NOW, shadow=control.Compared(model="m@2", against="m@1", n=3, agreed=2)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", TYPES)
def test_every_schema_is_one_and_says_what_it_is_of(name: str) -> None:
    schema = schema_of(TYPES[name])
    Draft202012Validator.check_schema(schema)
    assert schema["description"].startswith((TYPES[name].__doc__ or "?").strip()[:20])


@pytest.mark.parametrize(("name", "message"), MESSAGES.items())
def test_what_we_write_is_as_the_schema_says(name: str, message: msgspec.Struct) -> None:
    validator = Draft202012Validator(schema_of(TYPES[name]))
    written = json.loads(msgspec.json.encode(message))
    validator.validate(written)
    for field in schema_of(TYPES[name])["required"]:
        with pytest.raises(ValidationError):
            validator.validate({key: value for key, value in written.items() if key != field})


GOOD = {"id": 1, "label": "joy", "label_ref": "l/0/1", "by": "ada", "at": "2026-05-04T18:00:00Z"}


@pytest.mark.parametrize(
    ("name", "value", "good"),
    [
        ("post", {"id": 1, "text": "x", "created_at": "2026-05-04T18:00:00Z", "more": 1}, True),
        ("post", {"id": "1", "text": "x", "created_at": 1_777_000_000}, True),
        ("post", {"id": "1"}, False),
        ("post", {"id": "1" * 1025, "text": "x"}, False),
        ("correction", GOOD, True),
        ("correction", GOOD | {"label": "glee"}, False),
        ("correction", GOOD | {"label_ref": "l/0"}, False),
        ("correction", GOOD | {"by": ""}, False),
    ],
)
def test_schema_and_decoder_take_the_same(name: str, value: dict[str, Any], good: bool) -> None:
    assert Draft202012Validator(schema_of(TYPES[name])).is_valid(value) is good
    try:
        msgspec.json.decode(json.dumps(value), type=TYPES[name])
    except msgspec.ValidationError:
        assert not good
    else:
        assert good


def test_words_of_fields_come_from_the_code(document: dict[str, Any]) -> None:
    label = document["components"]["schemas"]["Label"]["properties"]
    assert label["input"]["description"].startswith("`topic/partition/offset` of the input")
    assert (
        document["components"]["schemas"]["AlertWindow"]["properties"]["from"]["description"]
        == "Epoch seconds."
    )


def test_one_message_alone() -> None:
    ended = moodstream(["topics", "contract", "--message", "label"], {})
    schema = json.loads(ended.stdout)
    Draft202012Validator(schema).validate(json.loads(msgspec.json.encode(MESSAGES["label"])))
