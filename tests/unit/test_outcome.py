from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from worker.errors import BadRecordError
from worker.stream.batch import Batch, Entry
from worker.stream.cloud_events import Events
from worker.stream.decode import Deletion
from worker.stream.outcome import Destination, outgoing
from worker.types import MAX_LABEL_TEXT, Classified, Label, Post, Record

NOW = datetime(2024, 1, 1, tzinfo=UTC)
WRITTEN = datetime(2023, 12, 31, 23, 59, tzinfo=UTC)
TO = Destination("labels", "dead", "default@1", "0.1.0")


def entry(offset: int, what: Post | Deletion | BadRecordError, value: bytes | None = b"v") -> Entry:
    return Entry(Record("tweets", 2, offset, b"k%d" % offset, value, 0), what, WRITTEN)


def answer(*labels: int) -> Classified:
    scores = np.full((len(labels), 6), 0.1)
    for row, label in enumerate(labels):
        scores[row, min(label, 5)] = 0.5
    return Classified(
        scores, np.full(len(labels), 0.25), np.array(labels, dtype=np.intp), np.zeros(len(labels))
    )


def test_each_record_has_its_outcome_in_order() -> None:
    batch = Batch(
        [
            entry(0, Post(id="a", text="x", source="web", lang="en", author_id=5)),
            entry(1, BadRecordError("invalid_json", "the value is not JSON"), b"\xff{"),
            entry(2, Deletion(b"k2"), None),
            entry(3, Post(id=9, text="y")),
        ]
    )
    label, dead, tombstone, neutral = outgoing(batch, answer(1, 6), TO, NOW)

    decoded = msgspec.json.decode(label.value or b"", type=Label)
    assert (label.topic, label.key) == ("labels", b"k0")
    assert (decoded.id, decoded.source, decoded.label, decoded.score) == ("a", "web", "joy", 0.5)
    assert (decoded.model, decoded.input, decoded.lang, decoded.author_id) == (
        "default@1",
        "tweets/2/0",
        "en",
        5,
    )
    assert (decoded.created_at, decoded.labelled_at) == (WRITTEN, NOW)
    assert decoded.text == "x"

    assert (dead.topic, dead.key, dead.value) == ("dead", b"k1", b"\xff{")
    headers = dict(dead.headers)
    assert headers["moodstream.error"] == b"invalid_json"
    assert headers["moodstream.offset"] == b"1"
    assert headers["moodstream.partition"] == b"2"
    assert headers["moodstream.worker"] == b"0.1.0"

    assert (tombstone.topic, tombstone.key, tombstone.value) == ("labels", b"k2", None)
    assert tombstone.headers == [("moodstream.input", b"tweets/2/2")]

    decoded = msgspec.json.decode(neutral.value or b"", type=Label)
    assert (decoded.id, decoded.source, decoded.label, decoded.score) == (9, "tweets", "neutral", 0.25)


def test_labels_may_be_cloud_events_and_written_otherwise() -> None:
    """Its Kafka protocol binding, binary mode; ids are those of the inputs, whenever they are labelled."""
    batch = Batch([entry(0, Post(id="a", text="x")), entry(1, Deletion(b"k1"), None)])
    to = replace(TO, encode=lambda label: str(label.id).encode(), events=Events("/moods", "text/plain"))
    label, tombstone = outgoing(batch, answer(1), to, NOW)
    assert label.value == b"a"
    attributes = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"tweets/2/0"),
        ("ce_source", b"/moods"),
        ("ce_type", b"moodstream.label"),
        ("ce_time", b"2024-01-01T00:00:00+00:00"),
    ]
    assert label.headers == [*attributes, ("content-type", b"text/plain")]
    headers = dict(tombstone.headers)
    assert tombstone.value is None
    assert "content-type" not in headers
    assert (headers["ce_id"], headers["ce_type"]) == (b"tweets/2/1", b"moodstream.label.deleted")
    assert headers["moodstream.input"] == b"tweets/2/1"
    assert outgoing(batch, answer(1), TO, NOW)[0].headers == []


@pytest.mark.parametrize("labels", [(), (1, 1)])
def test_an_answer_of_another_length_is_refused(labels: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="answers than posts"):
        outgoing(Batch([entry(0, Post(id=1, text="x"))]), answer(*labels), TO, NOW)


def test_the_text_travels_on_cut_or_not_at_all() -> None:
    batch = Batch([entry(0, Post(id=1, text="x" * (MAX_LABEL_TEXT + 1)))])
    cut = msgspec.json.decode(outgoing(batch, answer(1), TO, NOW)[0].value or b"", type=Label)
    assert cut.text == "x" * MAX_LABEL_TEXT

    silent = Destination("labels", "dead", "default@1", "0.1.0", text=False)
    value = outgoing(batch, answer(1), silent, NOW)[0].value or b""
    assert b'"text"' not in value
