"""Posts in Protobuf, from bytes; schemas and messages that mean harm."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.formats import (
    FIELD,
    HEADER,
    NOW,
    POST_FIELDS,
    file_of,
    kind_of,
    message_class,
    read_protobuf,
    text_of,
)
from worker.errors import BadRecordError
from worker.formats import protobuf, schemas
from worker.formats.problems import UnusableSchemaError
from worker.types import Post


def test_a_protobuf_post_by_the_names_of_its_fields() -> None:
    file = file_of(*POST_FIELDS)
    body = message_class(file)(id=9, text="so happy", lang="en").SerializeToString()
    assert read_protobuf(file, body) == Post(id=9, text="so happy", lang="en")


def test_a_protobuf_post_of_our_file_may_have_either_id() -> None:
    file = schemas.descriptor(Post)
    post = message_class(file, "moodstream.Post")
    for fields, wanted in (({"id": "9"}, "9"), ({"id_number": 9}, 9), ({"id_number": 0}, 0)):
        message = post(text="x", **fields)
        message.created_at.FromDatetime(NOW)
        found = read_protobuf(file, message.SerializeToString())
        assert found == Post(id=wanted, text="x", created_at=NOW)


def test_what_may_be_absent_is_so_where_it_is_zero_and_cannot_say_more() -> None:
    def more(message: Any) -> None:
        for name, number, kind in (
            ("author_id", 12, ".google.protobuf.Int64Value"),
            ("source", 13, ".google.protobuf.StringValue"),
        ):
            message.field.add(
                name=name, number=number, type=FIELD.TYPE_MESSAGE, type_name=kind, label=FIELD.LABEL_OPTIONAL
            )

    file = file_of(*POST_FIELDS, ("created_at", 11, FIELD.TYPE_DOUBLE), more=more)
    file.dependency.append("google/protobuf/wrappers.proto")
    post = message_class(file)
    body = post(id=9, text="x").SerializeToString()
    assert read_protobuf(file, body) == Post(id=9, text="x")
    message = post(id=9, text="x", created_at=1_777_919_401.5)
    message.author_id.value = 0
    message.source.value = "web"
    assert read_protobuf(file, message.SerializeToString()) == Post(
        id=9, text="x", created_at=1_777_919_401.5, author_id=0, source="web"
    )


def test_empty_fields_that_cannot_say_more_are_absent() -> None:
    file = file_of(*POST_FIELDS)
    post = message_class(file)
    assert kind_of(lambda: read_protobuf(file, post(text="x").SerializeToString())) == "missing_id"
    assert kind_of(lambda: read_protobuf(file, post(id=1).SerializeToString())) == "missing_text"


@pytest.mark.parametrize("body", [b"\xff", b"\x0a\x05ab", b"\x0a\x02\xff\xfe"])
def test_a_message_that_is_broken_is_a_bad_record(body: bytes) -> None:
    assert kind_of(lambda: read_protobuf(file_of(*POST_FIELDS), body)) == "invalid_protobuf"


@pytest.mark.parametrize("place", [b"\x02\x02", b"\x04\x00\x00"])
def test_a_place_that_the_file_has_not_is_a_bad_record(place: bytes) -> None:
    assert kind_of(lambda: read_protobuf(file_of(*POST_FIELDS), b"", place)) == "invalid_protobuf"


def test_a_time_that_is_none_is_a_bad_record() -> None:
    file = schemas.descriptor(Post)
    message = message_class(file, "moodstream.Post")(id="a", text="x")
    message.created_at.seconds = 1 << 62
    assert kind_of(lambda: read_protobuf(file, message.SerializeToString())) == "invalid_time"


def a_list(message: Any) -> None:
    message.field.add(name="text", number=9, type=FIELD.TYPE_STRING, label=FIELD.LABEL_REPEATED)


def a_message(message: Any) -> None:
    message.field.add(
        name="text", number=9, type=FIELD.TYPE_MESSAGE, type_name=".p.Post", label=FIELD.LABEL_OPTIONAL
    )


@pytest.mark.parametrize("more", [a_list, a_message])
def test_a_field_of_ours_that_is_something_else_is_told(more: Callable[[Any], None]) -> None:
    assert kind_of(lambda: read_protobuf(file_of(POST_FIELDS[0], more=more), b"")) == "unusable_schema"


def test_a_message_within_itself_ends_where_the_parser_says() -> None:
    def nested(message: Any) -> None:
        message.field.add(
            name="next", number=9, type=FIELD.TYPE_MESSAGE, type_name=".p.Post", label=FIELD.LABEL_OPTIONAL
        )

    file, body = file_of(*POST_FIELDS, more=nested), b""
    for _ in range(20_000):
        length = len(body)
        varint = b""
        while length > 0x7F:
            varint, length = varint + bytes([length & 0x7F | 0x80]), length >> 7
        body = b"\x4a" + varint + bytes([length]) + body
    assert kind_of(lambda: read_protobuf(file, body)) == "invalid_protobuf"


@pytest.mark.parametrize(
    "schema", ["", 'syntax = "proto3";', "////", text_of(file_of(("id", 1, 9), ("text", 1, 9)))]
)
def test_what_is_no_descriptor_is_no_schema(schema: str) -> None:
    with pytest.raises((UnusableSchemaError, BadRecordError)):
        protobuf.reader(schema, {}, Post)(HEADER + b"\0")


def test_a_file_that_imports_what_is_not_there_is_no_schema() -> None:
    file = file_of(*POST_FIELDS)
    file.dependency.append("nowhere.proto")
    with pytest.raises(UnusableSchemaError, match="imports"):
        protobuf.reader(text_of(file), {}, Post)
