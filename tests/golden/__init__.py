"""What earlier releases wrote, byte for byte, and how it is put back.

`release-0.1.0.json` was made by `python -m tests.golden.make` with a real Kafka and a real Redis:

    labels, dead_letters   the records that its worker wrote for the posts in `make.py`
    redis                  every key that its trends role wrote when it read those labels
    made                   when
"""

from __future__ import annotations

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from redis import Redis

from worker.trends.redis_connection import text

FILE = Path(__file__).parent / "release-0.1.0.json"
TOPIC = "emotion-labels"
"""What the topic was called whose counts are in `redis`: part of each key."""


class Written(NamedTuple):
    """One record as it was written."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


class Golden(NamedTuple):
    """What one release wrote."""

    labels: list[Written]
    dead_letters: list[Written]
    redis: dict[str, dict[str, Any]]

    @property
    def counts(self) -> Counter[tuple[str, str, int]]:
        """By hand, without any of the product's code: labels per emotion, source and minute."""
        found: Counter[tuple[str, str, int]] = Counter()
        for record in self.labels:
            if record.value is not None:
                label = json.loads(record.value)
                found[label["label"], label["source"], minute_of(label["created_at"])] += 1
        return found


def minute_of(written: str) -> int:
    """Epoch seconds of the minute of an RFC 3339 time."""
    from datetime import datetime

    return int(datetime.fromisoformat(written).timestamp()) // 60 * 60


def load() -> Golden:
    """What release 0.1.0 wrote."""
    found = json.loads(FILE.read_text(encoding="utf-8"))
    return Golden(
        [_record(each) for each in found["labels"]],
        [_record(each) for each in found["dead_letters"]],
        found["redis"],
    )


def dump(labels: Iterable[Written], dead: Iterable[Written], redis: Mapping[str, Any], made: str) -> str:
    """As the file holds it."""
    return json.dumps(
        {
            "made": made,
            "labels": [_plain(each) for each in labels],
            "dead_letters": [_plain(each) for each in dead],
            "redis": redis,
        },
        indent=1,
        ensure_ascii=False,
    )


def dump_redis(client: Redis) -> dict[str, dict[str, Any]]:
    """Every key, its type, its value, and whether it expires."""
    found = {}
    for key in sorted(client.scan_iter()):
        kind = text(client.type(key))
        read = {"string": client.get, "set": client.smembers, "hash": client.hgetall}[kind]
        found[key.decode()] = {"type": kind, "value": _text(read(key)), "expires": client.ttl(key) > 0}
    return found


def load_redis(client: Redis, keys: Mapping[str, Mapping[str, Any]], topic: str) -> None:
    """Put every key back, as if it had been written for another topic."""
    for name, entry in keys.items():
        key, value = name.replace(TOPIC, topic), entry["value"]
        if entry["type"] == "string":
            client.set(key, value)
        elif entry["type"] == "set":
            client.sadd(key, *value)
        else:
            client.hset(key, mapping=value)
        if entry["expires"]:
            client.expire(key, 86_400)


def _text(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, dict):
        return dict(sorted((name.decode(), each.decode()) for name, each in value.items()))
    return sorted(each.decode() for each in value)


def _plain(record: Written) -> dict[str, Any]:
    return {
        "partition": record.partition,
        "key": _bytes_out(record.key),
        "value": _bytes_out(record.value),
        "headers": [[name, _bytes_out(value)] for name, value in record.headers],
    }


def _record(plain: Mapping[str, Any]) -> Written:
    headers = tuple((name, _bytes_in(value) or b"") for name, value in plain["headers"])
    return Written(plain["partition"], _bytes_in(plain["key"]), _bytes_in(plain["value"]), headers)


def _bytes_out(value: bytes | None) -> str | dict[str, str] | None:
    """Text as it is, so that the file can be read; anything else in base64."""
    if value is None:
        return None
    try:
        return value.decode()
    except UnicodeDecodeError:
        return {"base64": base64.b64encode(value).decode()}


def _bytes_in(plain: str | Mapping[str, str] | None) -> bytes | None:
    if plain is None:
        return None
    return plain.encode() if isinstance(plain, str) else base64.b64decode(plain["base64"])
