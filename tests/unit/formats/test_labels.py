"""Labels in both formats and back, any bytes, and which decoder a topic has."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.formats import (
    HEADER,
    READERS,
    avro_value,
    kind_of,
    text_of,
)
from worker.errors import BadRecordError
from worker.formats import avro, protobuf, schemas
from worker.stream.decode import MAX_KEY, Deletion, decode
from worker.stream.decoders import decoder
from worker.types import LABELS, Label, Post, Record, Scores

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
