"""What a post and a label cost in each format, in microseconds: `PYTHONPATH=. python bench/formats.py [N]`.

Processor time, the least of five rounds of N: what a busy machine adds is not the format's.
"""

from __future__ import annotations

import json
import sys
import time
import timeit
from collections.abc import Callable
from datetime import UTC, datetime
from functools import partial
from io import BytesIO
from typing import Any

import fastavro
import msgspec

from worker.formats import avro, protobuf, schemas
from worker.formats.frame import header
from worker.stream.decode import decode
from worker.stream.decoders import decoder
from worker.types import Label, Post, Record, Scores

NOW = datetime(2026, 5, 4, 18, 30, 1, 250_000, tzinfo=UTC)
POST = Post(
    id="1234567890123456789",
    text="so happy today, it was a lovely evening with all of you",
    created_at=NOW,
    author_id="42",
    lang="en",
    source="web",
)
LABEL = Label(
    id=POST.id,
    source="web",
    label="joy",
    score=0.912345,
    scores=Scores(0.012345, 0.912345, 0.023456, 0.012345, 0.019876, 0.019633),
    neutral=0.034567,
    model="default@3",
    created_at=NOW,
    labelled_at=NOW,
    input="tweets/3/123456789",
    lang="en",
    author_id="42",
    text=POST.text,
)
_ROUNDS = 5


def avro_post() -> bytes:
    """The post as Confluent's serializer for Avro writes it."""
    out = BytesIO()
    fields = msgspec.to_builtins(POST, builtin_types=(datetime,))
    fastavro.schemaless_writer(out, fastavro.parse_schema(schemas.avro(Post)), fields)
    return header(1) + out.getvalue()


def protobuf_post() -> bytes:
    """The same for Protobuf."""
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, timestamp_pb2

    pool, known = descriptor_pool.DescriptorPool(), descriptor_pb2.FileDescriptorProto()
    timestamp_pb2.DESCRIPTOR.CopyToProto(known)
    pool.Add(known)
    pool.Add(schemas.descriptor(Post))
    kind = message_factory.GetMessageClass(pool.FindMessageTypeByName("moodstream.Post"))
    message: Any = kind(id=POST.id, text=POST.text, author_id="42", lang="en", source="web")
    message.created_at.FromDatetime(NOW)
    return header(1) + b"\0" + bytes(message.SerializeToString())


def main() -> None:
    """Check that all three say the same, and print what they take."""
    n = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    values = {"json": msgspec.json.encode(POST), "avro": avro_post(), "protobuf": protobuf_post()}
    readers = {
        "avro": avro.reader(json.dumps(schemas.avro(Post)), [], Post),
        "protobuf": protobuf.reader(schemas.serialized(Post), {}, Post),
    }
    decoders = {"json": decode} | {kind: decoder({"tweets": read}) for kind, read in readers.items()}
    write = {"json": msgspec.json.Encoder().encode, "avro": avro.writer(), "protobuf": protobuf.writer()}
    read_label = {
        "json": msgspec.json.Decoder(Label).decode,
        "avro": avro.reader(json.dumps(schemas.avro(Label)), [], Label),
        "protobuf": protobuf.reader(schemas.serialized(Label), {}, Label),
    }
    for kind, value in values.items():
        record = Record("tweets", 0, 0, b"42", value, 0)
        assert decoders[kind](record) == POST
        framed = write[kind](LABEL) if kind == "json" else header(1) + write[kind](LABEL)
        assert read_label[kind](framed) == LABEL
        figures = {
            "post read": least(partial(decoders[kind], record), n),
            "label written": least(partial(write[kind], LABEL), n),
            "label read": least(partial(read_label[kind], framed), n),
        }
        sizes = f"a post {len(value)} bytes, a label {len(framed)}"
        print(kind, *(f"{what} {us:.2f} us" for what, us in figures.items()), sizes, sep=", ")


def least(call: Callable[[], object], n: int) -> float:
    """Microseconds of one call."""
    return min(timeit.repeat(call, number=n, repeat=_ROUNDS, timer=time.process_time)) / n * 1e6


if __name__ == "__main__":
    main()
