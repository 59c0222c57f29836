"""The least that any consumer does: consume, decode, encode, produce, commit, with nothing in between.

The yardstick for the host's part of the worker: same client, same transactions, same messages in and out,
but no tokens, no batching rules, no metrics, no dead letters and no model.
Run as `python -m worker.bench.bare_peer BOOTSTRAP TOPIC OUT GROUP`.
"""

from __future__ import annotations

import sys
from datetime import UTC, datetime

import msgspec
from confluent_kafka import Consumer, Producer, TopicPartition

from worker.types import Label, Post, Scores

RECORDS_PER_COMMIT = 4096
_SIXTH = 1 / 6


def main(bootstrap: str, topic: str, out: str, group: str) -> None:
    """Copy `topic` to `out` for ever, in transactions."""
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": group,
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
            "isolation.level": "read_committed",
        }
    )
    producer = Producer({"bootstrap.servers": bootstrap, "transactional.id": group, "linger.ms": 5})
    producer.init_transactions()
    consumer.subscribe([topic])
    decode, encode = msgspec.json.Decoder(Post).decode, msgspec.json.encode
    while True:
        messages = consumer.consume(RECORDS_PER_COMMIT, 0.1)
        if not messages:
            continue
        producer.begin_transaction()
        now = datetime.now(UTC)
        for message in messages:
            post = decode(message.value() or b"")
            label = Label(
                id=post.id,
                source="bench",
                label="sadness",
                score=_SIXTH,
                scores=Scores(_SIXTH, _SIXTH, _SIXTH, _SIXTH, _SIXTH, _SIXTH),
                neutral=0.5,
                model="bare",
                created_at=now,
                labelled_at=now,
                input="bench",
                text=post.text,
            )
            producer.produce(out, encode(label), message.key())
        ends = {(m.topic(), m.partition()): m.offset() for m in messages}
        offsets = [TopicPartition(t or "", p or 0, (o or 0) + 1) for (t, p), o in ends.items()]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
        producer.commit_transaction()


if __name__ == "__main__":
    main(*sys.argv[1:])
