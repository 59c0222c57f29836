"""Makes the golden file: runs the release of `tests.support.previous` on a real Kafka and a real Redis.

    python -m tests.golden.make

Only for a new golden file of another release: one that exists is never made again.
"""

from __future__ import annotations

import json
import sys
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from confluent_kafka import Message, Producer
from redis import Redis

from tests import golden
from tests.support import previous
from tests.support.kafka import create_topic, read_all
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from worker.local.kafka import RealKafka
from worker.local.redis import RealRedis

PARTITIONS = 2
INPUT, LABELS, DEAD = "tweets", golden.TOPIC, "emotion-dead-letters"


def posts(now: datetime) -> list[tuple[int, bytes | None, bytes | None]]:
    """Partition, key and value of every kind of input that the release knew."""

    def ago(minutes: float) -> datetime:
        return now - timedelta(minutes=minutes)

    def post(number: Any, text: str, **more: Any) -> bytes:
        return json.dumps({"id": number, "text": text, **more}, ensure_ascii=False).encode()

    bluesky = {
        "did": "did:plc:abc",
        "time_us": int(ago(7).timestamp() * 1e6),
        "kind": "commit",
        "commit": {
            "operation": "create",
            "collection": "app.bsky.feed.post",
            "rkey": "3k",
            "record": {
                "text": "i am so proud of my sister",
                "createdAt": ago(7).isoformat(),
                "langs": ["en"],
            },
        },
    }
    x_envelope = {"data": {"id": "17", "text": "what a scary night", "created_at": ago(8).isoformat(),
                           "author_id": "9", "lang": "en"}}  # fmt: skip
    good = [
        post(1, "i am so happy today", created_at=ago(1).isoformat(), author_id="a", lang="en", source="web"),
        post("two", "this makes me furious", created_at=ago(1).timestamp(), source="web"),
        post(3, "i cried all night, i miss her", created_at=int(ago(2).timestamp() * 1000), lang="en"),
        post(4, "the meeting is at four in room two", created_at=ago(3).isoformat()),
        post(5, "i love you so much ❤️ 😍", author_id=77, source="app|ios", created_at=ago(3).isoformat()),
        post(6, "wow, i did not expect that at all!", source="日本", created_at=ago(4).isoformat()),
        post(7, "no time is given here, and i am scared"),
        post(2**63, "a large number for an id makes me laugh", created_at=ago(5).isoformat()),
        json.dumps(x_envelope).encode(),
        json.dumps(bluesky).encode(),
    ]
    bad = [b"{", b"\xff\xfe\x00", b"[]", b'{"id":1}', b'{"id":1,"text":""}', b'{"text":"x"}', b""]
    made: list[tuple[int, bytes | None, bytes | None]] = []
    for number, value in enumerate(good * 3 + bad):
        made.append((number % PARTITIONS, None if number % 5 == 4 else b"author-%d" % (number % 4), value))
    made += [(0, b"author-1", None), (1, b"author-2", None)]
    return made


def written(message: Message) -> golden.Written:
    headers = tuple((name, value or b"") for name, value in list(message.headers() or []))
    # A client that reads gives bytes; its stubs allow what one that writes may give.
    return golden.Written(message.partition() or 0, message.key(), message.value(), headers)  # type: ignore[arg-type]


def put(bootstrap: str, topic: str, records: list[tuple[int, bytes | None, bytes | None]]) -> None:
    producer = Producer({"bootstrap.servers": bootstrap})
    for partition, key, value in records:
        producer.produce(topic, value, key, partition)
    assert producer.flush(30) == 0


def main() -> int:
    problem = previous.missing()
    if problem or golden.FILE.exists():
        print(problem or f"{golden.FILE} exists", file=sys.stderr)  # noqa: T201
        return 2
    now = datetime.now(UTC).replace(microsecond=0)
    with tempfile.TemporaryDirectory() as folder, RealKafka() as kafka, RealRedis() as redis:
        release, logs = previous.unpack(Path(folder)), Path(folder)
        environment = {
            "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "MOODSTREAM_TOPICS__INPUTS": INPUT,
            "MOODSTREAM_REDIS__URL": redis.url,
        }
        create_topic(kafka.bootstrap, INPUT, partitions=PARTITIONS)
        create_topic(kafka.bootstrap, "first", partitions=PARTITIONS)
        create_topic(kafka.bootstrap, LABELS, partitions=PARTITIONS)
        create_topic(kafka.bootstrap, DEAD)
        records = posts(now)
        put(kafka.bootstrap, INPUT, records)

        first = environment | {"MOODSTREAM_TOPICS__LABELS": "first"}
        worker = RoleProcess("worker", logs / "worker.log", first, release=release)
        worker.start()
        eventually(
            lambda: len(read_all(kafka.bootstrap, "first") + read_all(kafka.bootstrap, DEAD)) == len(records),
            within_s=120,
        )
        worker.stop()
        labels = [written(message) for message in read_all(kafka.bootstrap, "first")]
        dead = [written(message) for message in read_all(kafka.bootstrap, DEAD)]

        # Without the markers of transactions, so that whoever puts them back has the same offsets.
        put(kafka.bootstrap, LABELS, [(each.partition, each.key, each.value) for each in labels])
        expected = sum(each.value is not None for each in labels)
        trends = RoleProcess("trends", logs / "trends.log", environment, release=release)
        trends.start()
        eventually(lambda: trends.metric("moodstream_trends_labels_applied_total") == expected, within_s=60)
        trends.stop()
        with Redis.from_url(redis.url) as client:
            kept = golden.dump_redis(client)
    golden.FILE.write_text(golden.dump(labels, dead, kept, now.isoformat()) + "\n", encoding="utf-8")
    print(f"{len(labels)} labels, {len(dead)} dead letters, {len(kept)} keys: {golden.FILE}")  # noqa: T201
    return 0


if __name__ == "__main__":
    sys.exit(main())
