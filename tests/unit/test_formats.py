"""Posts and labels in Avro and Protobuf, from bytes and back; schemas and messages that mean harm."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import fastavro
import msgspec
import pytest
from click.testing import CliRunner
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2, wrappers_pb2
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRecordError, ConfigurationError
from worker.formats import avro, protobuf, schemas
from worker.formats.frame import header, message_path, schema_id
from worker.formats.problems import UnusableSchemaError
from worker.stream.decode import MAX_KEY, Deletion, decode
from worker.stream.decoders import decoder
from worker.topics.commands import contract
from worker.types import LABELS, Label, Post, Record, Scores

PUBLISHED = Path(__file__).parents[2] / "docs" / "schemas"
NOW = datetime(2026, 5, 4, 18, 30, 1, 250_000, tzinfo=UTC)
AVRO_POST = json.dumps(schemas.avro(Post))
HEADER = header(7)


def avro_value(schema: Any, message: Any) -> bytes:
    out = BytesIO()
    fastavro.schemaless_writer(out, fastavro.parse_schema(schema), message)
    return HEADER + out.getvalue()


def record(*fields: tuple[str, Any], name: str = "Post") -> dict[str, Any]:
    return {"type": "record", "name": name, "fields": [{"name": n, "type": kind} for n, kind in fields]}


def read_avro(schema: Any, value: bytes, *references: Any) -> Post:
    return avro.reader(json.dumps(schema), [json.dumps(one) for one in references], Post)(value)


def kind_of(call: Callable[[], Any]) -> str:
    with pytest.raises(BadRecordError) as caught:
        call()
    return caught.value.kind


# The frame


def test_the_id_of_a_schema_is_in_the_first_five_bytes() -> None:
    assert schema_id(header(0x01020304) + b"x") == 0x01020304
    assert header(5) == b"\0\0\0\0\x05"


@pytest.mark.parametrize("value", [b"", b"\0", b"\0\0\0\0", b'{"id":1}', b"Obj\x01...", b"\x01" + b"x" * 20])
def test_what_is_not_framed_is_a_bad_record(value: bytes) -> None:
    assert kind_of(lambda: schema_id(value)) == "not_framed"


@pytest.mark.parametrize(
    ("after", "path", "at"),
    [(b"\0abc", (0,), 6), (b"\x02\x04abc", (2,), 7), (b"\x04\x02\x80\x02abc", (1, 128), 9)],
)
def test_a_protobuf_message_says_where_its_file_has_it(after: bytes, path: tuple[int, ...], at: int) -> None:
    assert message_path(HEADER + after) == (path, at)


@pytest.mark.parametrize(
    "after", [b"", b"\x02", b"\x01", b"\x02\x01", b"\x80" * 20, b"\xfe\xff\x03" + b"\0" * 9]
)
def test_a_place_that_makes_no_sense_is_a_bad_record(after: bytes) -> None:
    assert kind_of(lambda: message_path(HEADER + after)) == "invalid_protobuf"


# Avro


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


# Protobuf


def file_of(*fields: tuple[str, int, int], more: Callable[[Any], None] = lambda _: None) -> Any:
    file = descriptor_pb2.FileDescriptorProto(
        name="p.proto", package="p", syntax="proto3", dependency=["google/protobuf/timestamp.proto"]
    )
    message = file.message_type.add(name="Post")
    for name, number, kind in fields:
        message.field.add(name=name, number=number, type=kind, label=FIELD.LABEL_OPTIONAL)
    more(message)
    return file


FIELD = descriptor_pb2.FieldDescriptorProto
POST_FIELDS = (("id", 3, FIELD.TYPE_INT64), ("text", 1, FIELD.TYPE_STRING), ("lang", 2, FIELD.TYPE_STRING))


def text_of(file: Any) -> str:
    return base64.b64encode(file.SerializeToString()).decode()


def message_class(file: Any, name: str = "p.Post") -> Any:
    pool = descriptor_pool.DescriptorPool()
    for module in (timestamp_pb2, wrappers_pb2):
        known = descriptor_pb2.FileDescriptorProto()
        module.DESCRIPTOR.CopyToProto(known)
        pool.Add(known)
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(name))


def read_protobuf(file: Any, body: bytes, place: bytes = b"\0") -> Post:
    return protobuf.reader(text_of(file), {}, Post)(HEADER + place + body)


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


# Both

scores = st.floats(0, 1)
times = st.datetimes(datetime(1970, 1, 2), datetime(2999, 1, 1), timezones=st.just(UTC))
texts = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20)
ids = st.one_of(texts, st.integers(-(2**70), 2**70))
labels = st.builds(
    Label,
    id=ids,
    source=texts,
    label=st.sampled_from(LABELS),
    score=scores,
    scores=st.builds(Scores, *[scores] * 6),
    neutral=scores,
    model=texts,
    created_at=times,
    labelled_at=times,
    input=texts,
    lang=st.none() | texts,
    author_id=st.none() | ids,
    text=st.none() | texts,
)
FORMATS: dict[str, tuple[Callable[[Label], bytes], Callable[[bytes], Label]]] = {
    "avro": (avro.writer(), avro.reader(json.dumps(schemas.avro(Label)), [], Label)),
    "protobuf": (protobuf.writer(), protobuf.reader(text_of(schemas.descriptor(Label)), {}, Label)),
}


def as_written(number: str | int | None) -> str | int | None:
    """Numbers that neither format has are texts."""
    return str(number) if isinstance(number, int) and not -(2**63) <= number < 2**63 else number


@pytest.mark.parametrize("kind", FORMATS)
@given(label=labels)
def test_a_label_comes_back_as_it_was(kind: str, label: Label) -> None:
    write, read = FORMATS[kind]
    wanted = msgspec.structs.replace(label, id=as_written(label.id), author_id=as_written(label.author_id))
    assert read(HEADER + write(label)) == wanted


LISTS = record(
    ("id", ["string", "long"]),
    (
        "tags",
        {"type": "array", "items": record(("a", ["null", {"type": "map", "values": "bytes"}]), name="Tag")},
    ),
    ("price", {"type": "bytes", "logicalType": "decimal", "precision": 4}),
    ("kind", {"type": "enum", "name": "Kind", "symbols": ["A"]}),
    ("text", "string"),
)
READERS: dict[str, Callable[[bytes], Post]] = {
    "avro": avro.reader(AVRO_POST, [], Post),
    "avro with lists": avro.reader(json.dumps(LISTS), [], Post),
    "protobuf": protobuf.reader(text_of(schemas.descriptor(Post)), {}, Post),
}


@pytest.mark.parametrize("kind", READERS)
@given(body=st.binary(max_size=200))
def test_any_bytes_are_a_post_or_a_bad_record(kind: str, body: bytes) -> None:
    try:
        found: Post | str = READERS[kind](HEADER + body)
    except BadRecordError as error:
        found = error.kind
    assert isinstance(found, Post) or found in KINDS


KINDS = {"invalid_avro", "invalid_protobuf", "invalid_time", "missing_id", "missing_text", "wrong_type"}


def rec(value: bytes | None, topic: str = "tweets", key: bytes | None = b"k") -> Record:
    return Record(topic, 0, 3, key, value, 1_700_000_000_000)


def test_with_json_alone_the_decoder_is_the_json_decoder_itself() -> None:
    assert decoder({}) is decode


def test_each_topic_is_decoded_by_its_format() -> None:
    decoded = decoder({"tweets": READERS["avro"]})
    value = avro_value(schemas.avro(Post), {"id": "a", "text": "x"})
    assert decoded(rec(value)) == Post(id="a", text="x")
    assert decoded(rec(b'{"id":1,"text":"y"}', "feedback")) == Post(id=1, text="y")
    assert decoded(rec(None)) == Deletion(b"k")
    assert kind_of(lambda: decoded(rec(value, key=b"k" * (MAX_KEY + 1)))) == "key_too_large"
    empty = avro_value(schemas.avro(Post), {"id": "a", "text": " \n"})
    assert kind_of(lambda: decoded(rec(empty))) == "empty_text"


# The schemas


@pytest.mark.parametrize("name", schemas.MESSAGES)
@pytest.mark.parametrize(("kind", "ending"), [("avro", "avsc"), ("protobuf", "proto")])
def test_the_schemas_beside_the_documentation_are_current(name: str, kind: str, ending: str) -> None:
    """`moodstream topics contract --message label --format avro > docs/schemas/label.avsc`, and so on.

    Others have registered these: what is new goes to the end and may be absent, and no number changes.
    """
    ended = CliRunner().invoke(contract, ["--message", name, "--format", kind])
    assert ended.exit_code == 0, ended.output
    assert ended.stdout == (PUBLISHED / f"{name}.{ending}").read_text()


def test_only_posts_and_labels_have_other_schemas() -> None:
    for arguments in (["--format", "avro"], ["--format", "avro", "--message", "alert"]):
        ended = CliRunner().invoke(contract, arguments)
        assert isinstance(ended.exception, ConfigurationError)
        assert "--message post or --message label" in str(ended.exception)


def test_new_fields_may_be_absent_and_so_may_fields_of_an_older_reader() -> None:
    """What Confluent calls FULL: today's labels by yesterday's schema, and the reverse."""
    newer = schemas.avro(Label)
    older = {**newer, "fields": [field for field in newer["fields"] if field["name"] not in ("lang", "text")]}
    label = {
        "id": 1,
        "source": "web",
        "label": "joy",
        "score": 1.0,
        "scores": dict.fromkeys(Scores.__struct_fields__, 0.0),
        "neutral": 0.0,
        "model": "m@1",
        "created_at": NOW,
        "labelled_at": NOW + timedelta(seconds=1),
        "input": "t/0/1",
    }
    for schema in (newer, older):
        found = avro.reader(json.dumps(schema), [], Label)(avro_value(schema, label))
        assert (found.id, found.lang, found.text) == (1, None, None)
