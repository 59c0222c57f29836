"""Posts of a known truth in a topic; a replay straight and one under kills; scikit-learn on what it wrote."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import pyarrow.parquet as pq
from confluent_kafka import Consumer, Producer, TopicPartition
from redis import Redis
from sklearn import metrics

from tests.support.artifacts import variant
from tests.support.kafka import KafkaUnderTest, high_watermarks, unique
from worker.local.redis import RealRedis
from worker.topics.connect import connected
from worker.types import EMOTIONS

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
APART = timedelta(milliseconds=500)
"""Between two posts."""
AROUND = 1000
"""Posts before the range, and as many behind it."""
PARTITIONS = 3
_LIVE = "moodstream-worker"


class Given(NamedTuple):
    """What is replayed."""

    gold: list[tuple[str, str]]
    """Texts with their truth."""
    texts: list[str]
    """Texts without."""
    records: int
    kills: int


class Found(msgspec.Struct, frozen=True):
    """What came of it."""

    posts: int
    scored: int
    verdict: str
    seconds: float
    """Of the straight replay."""
    kills: int
    same: bool
    """Whether both wrote the same predictions, row by row, and the same report but for times."""
    accuracy: list[float]
    """Of both models."""
    macro_f1: list[float]
    off: float
    """The most that accuracy, macro F1 or ROC-AUC differ from scikit-learn's; infinite: a confusion does."""
    untouched: bool
    """Whether groups, their offsets, the topics and Redis are as they were."""

    @property
    def good(self) -> bool:
        """Whether all is as promised."""
        return self.same and self.untouched and self.off < 1e-9


class _Live(NamedTuple):
    """What a replay must leave alone."""

    groups: dict[str, Any]
    ends: dict[int, int]
    redis: dict[bytes, bytes | None]


def run(given: Given, kafka: KafkaUnderTest, redis: RealRedis, folder: Path) -> Found:
    """Do it, on a topic of its own."""
    topic = kafka.topic("replayed", partitions=PARTITIONS, **{"retention.ms": "-1"})
    gold = _write(given, kafka, topic, folder / "gold.csv")
    _begin_live(kafka, topic, redis)
    before = _live(kafka, topic, redis)
    second = variant(folder / "plain", name="plain", version="1", text_version=0)
    end = (NOON + given.records * APART).isoformat()
    asked = [
        *(sys.executable, "-m", "worker", "replay", "--json", "--topic", topic),
        *("--bootstrap", kafka.bootstrap, "--from", NOON.isoformat(), "--to", end),
        *("--gold", str(gold), "--model", "bundled", "--model", str(second), "--report"),
    ]
    start = time.monotonic()
    straight = _replayed([*asked, str(folder / "straight")])
    seconds = time.monotonic() - start
    for number in range(given.kills):
        _kill([*asked, str(folder / "killed")], seconds * (0.15 + 0.1 * number))
    _replayed([*asked, str(folder / "killed")])
    return Found(
        posts=straight["input"]["posts"],
        scored=straight["scored"],
        verdict=straight["verdict"],
        seconds=round(seconds, 1),
        kills=given.kills,
        same=_same(folder / "straight", folder / "killed"),
        accuracy=[one["figures"]["accuracy"] for one in straight["contestants"]],
        macro_f1=[one["figures"]["macro_f1"] for one in straight["contestants"]],
        off=_off(straight, folder / "straight"),
        untouched=_live(kafka, topic, redis) == before,
    )


def _posts(given: Given) -> Iterator[tuple[str, str | None]]:
    """Texts with and without a truth, in an order that chance has chosen; the same each time."""
    gold: list[tuple[str, str | None]] = [*given.gold[: given.records]]
    plain = islice(cycle(given.texts), given.records - len(gold))
    posts = [*gold, *((text, None) for text in plain)]
    random.Random(1).shuffle(posts)
    return cycle(posts)


def _write(given: Given, kafka: KafkaUnderTest, topic: str, gold: Path) -> Path:
    """The posts of the range, some before it and some behind it, and the file of their truth."""
    producer = Producer({"bootstrap.servers": kafka.bootstrap, "enable.idempotence": True})
    lines = ["id,label"]
    numbered = zip(range(-AROUND, given.records + AROUND), _posts(given), strict=False)
    for number, (text, label) in numbered:
        at = NOON + number * APART
        post = {"id": f"post-{number}", "text": text, "created_at": at, "lang": "en"}
        while True:
            try:
                producer.produce(
                    topic, msgspec.json.encode(post), b"%d" % number, timestamp=int(at.timestamp() * 1000)
                )
                break
            except BufferError:
                producer.poll(0.1)
        if label is not None and 0 <= number < given.records:
            lines.append(f"post-{number},{label}")
    assert producer.flush(60) == 0
    gold.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return gold


def _begin_live(kafka: KafkaUnderTest, topic: str, redis: RealRedis) -> None:
    """A group that has read some of the topic, and something in Redis."""
    reader = Consumer(
        {"bootstrap.servers": kafka.bootstrap, "group.id": unique(_LIVE), "enable.auto.commit": False}
    )
    reader.commit(
        offsets=[TopicPartition(topic, part, 100 + part) for part in range(PARTITIONS)], asynchronous=False
    )
    reader.close()
    with Redis.from_url(redis.url) as client:
        for number in range(1000):
            client.hset(f"{{moodstream:emotion-labels}}:live:{number}", mapping={"joy": number})


def _live(kafka: KafkaUnderTest, topic: str, redis: RealRedis) -> _Live:
    with connected(kafka.settings) as admin:
        names = sorted(
            group["group_id"] for group in admin.list_groups() if not group["group_id"].startswith("probe-")
        )
        groups = {
            name: sorted((key.topic, key.partition, value.offset) for key, value in offsets.items())
            for name, offsets in admin.list_group_offsets(names).items()
        }
    with Redis.from_url(redis.url) as client:
        stored = {key: client.dump(key) for key in client.scan_iter(count=1000)}
    return _Live(groups, high_watermarks(kafka.bootstrap, topic), stored)


def _replayed(command: list[str]) -> Any:
    """The line of a replay that goes well."""
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 0, f"exit code {done.returncode}"
    return json.loads(done.stdout.splitlines()[-1])


def _kill(command: list[str], after_s: float) -> None:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    time.sleep(after_s)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL, "it was over before it was killed"


def _same(straight: Path, killed: Path) -> bool:
    tables = [pq.read_table(folder / "predictions.parquet") for folder in (straight, killed)]
    return bool(tables[0].equals(tables[1])) and _without_times(straight) == _without_times(killed)


def _without_times(report: Path) -> Any:
    found = json.loads((report / "report.json").read_bytes())
    del found["speed"], found["replay"]
    return found


def _off(found: Any, report: Path) -> float:
    """How far the figures are from those that scikit-learn computes from the table of predictions."""
    table = pq.read_table(report / "predictions.parquet").to_pandas()
    table = table[table.truth.notna()]
    off = 0.0
    for one in found["contestants"]:
        six = table[[f"{one['letter']}_{emotion}" for emotion in EMOTIONS]].to_numpy()
        answer = np.array(EMOTIONS)[six.argmax(axis=1)]
        figures = one["figures"]
        expected = {
            "accuracy": metrics.accuracy_score(table.truth, answer),
            "macro_f1": metrics.f1_score(table.truth, answer, average="macro"),
            "roc_auc_ovr": np.mean(
                [metrics.roc_auc_score(table.truth == name, six[:, i]) for i, name in enumerate(EMOTIONS)]
            ),
        }
        confusion = metrics.confusion_matrix(table.truth, answer, labels=list(EMOTIONS)).tolist()
        if figures["confusion"] != confusion:
            return float("inf")
        off = max(off, *(abs(figures[name] - value) for name, value in expected.items()))
    return float(off)  # scikit-learn counts in numbers of its own
