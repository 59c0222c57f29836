"""Posts in Avro, from bytes; schemas and messages that mean harm."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest

from tests.support.formats import (
    HEADER,
    NOW,
    READERS,
    avro_value,
    kind_of,
    read_avro,
    record,
)
from worker.errors import BadRecordError
from worker.formats import avro, schemas
from worker.formats.problems import UnusableSchemaError
from worker.types import Post


def test_an_avro_post_of_our_schema() -> None:
    post = {"id": 9, "text": "so happy", "created_at": NOW, "lang": "en"}
    assert read_avro(schemas.avro(Post), avro_value(schemas.avro(Post), post)) == Post(
        id=9, text="so happy", created_at=NOW, lang="en"
    )


@pytest.mark.parametrize(
    ("kind", "given", "found"),
    [
        ("string", "2026-05-04T18:30:01.25Z", NOW),
        ("long", 1_777_919_401_250, 1_777_919_401_250),
        ("double", 1_777_919_401.25, 1_777_919_401.25),
        ({"type": "long", "logicalType": "timestamp-millis"}, NOW, NOW),
        (
            {"type": "long", "logicalType": "local-timestamp-millis"},
            NOW.replace(tzinfo=None),
            NOW.replace(tzinfo=None),
        ),
        (["null", {"type": "long", "logicalType": "timestamp-micros"}], None, None),
    ],
)
def test_a_time_may_be_written_as_in_json_or_as_a_timestamp(kind: Any, given: Any, found: Any) -> None:
    schema = record(("id", "string"), ("text", "string"), ("created_at", kind))
    value = avro_value(schema, {"id": "a", "text": "x", "created_at": given})
    assert read_avro(schema, value).created_at == found


def test_other_logical_types_are_what_they_are_written_in() -> None:
    uuid = {"type": "string", "logicalType": "uuid"}
    schema = record(("id", uuid), ("text", "string"))
    value = avro_value(record(("id", "string"), ("text", "string")), {"id": "no uuid", "text": "x"})
    assert read_avro(schema, value).id == "no uuid"


def test_fields_that_a_post_has_not_are_passed_over_lists_and_all() -> None:
    person = record(("name", "string"), ("friends", {"type": "array", "items": "string"}), name="Person")
    schema = record(
        ("by", person), ("text", "string"), ("to", {"type": "map", "values": "Person"}), ("id", "long")
    )
    value = avro_value(
        schema,
        {
            "by": {"name": "ann", "friends": ["bob"] * 3},
            "text": "x",
            "to": {"a": {"name": "c", "friends": []}},
            "id": 4,
        },
    )
    assert read_avro(schema, value) == Post(id=4, text="x")


@pytest.mark.parametrize(
    ("schema", "message", "kind"),
    [
        (record(("id", "long")), {"id": 1}, "missing_text"),
        (record(("text", "string")), {"text": "x"}, "missing_id"),
        (record(("id", "long"), ("text", ["null", "string"])), {"id": 1, "text": None}, "wrong_type"),
        (record(("id", "long"), ("text", "bytes")), {"id": 1, "text": b"x"}, "wrong_type"),
        (record(("id", "string"), ("text", "string")), {"id": "x" * 1025, "text": "x"}, "wrong_type"),
        (
            record(("id", "long"), ("text", "string"), ("created_at", "string")),
            {"id": 1, "text": "x", "created_at": "yesterday"},
            "invalid_time",
        ),
    ],
)
def test_a_message_that_is_no_post_says_why(schema: Any, message: Any, kind: str) -> None:
    assert kind_of(lambda: read_avro(schema, avro_value(schema, message))) == kind


def test_a_message_that_was_cut_anywhere_is_a_bad_record() -> None:
    value = avro_value(schemas.avro(Post), {"id": "a", "text": "so happy", "lang": "en"})
    read = READERS["avro"]
    kinds = {kind_of(partial(read, value[:end])) for end in range(len(HEADER), len(value))}
    assert kinds == {"invalid_avro"}


def test_a_reason_quotes_nothing_of_the_message() -> None:
    with pytest.raises(BadRecordError) as caught:
        read_avro(schemas.avro(Post), HEADER + b"\x00\x08secr\x0asecret\xff")
    assert "secr" not in str(caught.value)


LOOP = record(("id", "long"), ("text", "string"), ("next", ["null", "Post"]))
NOTHING = record(name="Nothing")
LAUGHS = [record(*((f"f{i}", f"L{n + 1}") for i in range(10)), name=f"L{n}") for n in range(9)]


@pytest.mark.parametrize(
    ("schema", "references", "why"),
    [
        (LOOP, [], "Post refers to itself"),
        (
            record(("id", "long"), ("x", record(("y", {"type": "array", "items": "Post"}), name="In"))),
            [],
            "Post refers to itself",
        ),
        (record(("id", "long"), ("x", {"type": "array", "items": "null"})), [], "items that take no bytes"),
        (record(("id", "long"), ("x", {"type": "array", "items": NOTHING})), [], "items that take no bytes"),
        (
            record(("x", {"type": "array", "items": {"type": "fixed", "name": "F", "size": 0}})),
            [],
            "items that take no bytes",
        ),
        (
            record(("id", "long"), ("x", "L0")),
            [record(name="L9"), *reversed(LAUGHS)],
            "more than 10000 fields",
        ),
        (
            record(("id", "long"), ("text", {"type": "array", "items": "string"})),
            [],
            "text is or holds a list",
        ),
        ("string", [], "no record"),
        ({"type": "array", "items": "string"}, [], "no record"),
        (record(("id", "nonsense")), [], "no Avro schema"),
        ({"type": "record"}, [], "no Avro schema"),
        (7, [], "no Avro schema"),
        ([], [], "no record"),
    ],
)
def test_a_schema_that_a_message_could_abuse_is_not_used(
    schema: Any, references: list[Any], why: str
) -> None:
    with pytest.raises(UnusableSchemaError, match=why):
        avro.reader(json.dumps(schema), [json.dumps(one) for one in references], Post)


@pytest.mark.parametrize("schema", ["", "{", "\x00", "[" * 100_000])
def test_what_is_no_json_is_no_schema(schema: str) -> None:
    with pytest.raises(UnusableSchemaError, match="no Avro schema"):
        avro.reader(schema, [], Post)
