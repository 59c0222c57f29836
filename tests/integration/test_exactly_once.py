"""The promise: every input offset labelled or dead-lettered exactly once, and trends equal to the labels,
whatever is killed and whenever."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from itertools import cycle, islice
from pathlib import Path

import msgspec
import pytest

from tests.support.kafka import KafkaUnderTest
from tests.support.pipeline import Pipeline
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from worker.local.redis import RealRedis
from worker.types import Label, OutRecord

PROGRESS = {
    "worker": "moodstream_records_published_total",
    "trends": "moodstream_trends_labels_applied_total",
}
POSTS, MALFORMED = 30_000, 100
WORKER_KILLS, TRENDS_KILLS = 5, 3
SHORT = 60
"""Characters."""
BAD = (
    b"\xff\xfe",
    b"{",
    b"[]",
    b'{"id":1}',
    b'{"id":1,"text":""}',
    b'{"text":"x"}',
    b'{"id":1,"text":7}',
    b"",
)


@pytest.fixture
def pipeline(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(kafka, redis_server, tmp_path)
    yield made
    made.close()


def inputs(texts: list[str]) -> Iterator[OutRecord]:
    """Posts over a day of event time from four sources, with the malformed ones spread among them."""
    every = POSTS // MALFORMED
    for index, text in enumerate(islice(cycle(texts), POSTS)):
        key = b"author-%d" % (index % 997)
        if index % every == every // 2:
            yield OutRecord("", key, BAD[index // every % len(BAD)])
            continue
        minute = index % 1440
        yield OutRecord(
            "",
            key,
            msgspec.json.encode(
                {
                    "id": index,
                    "text": text,
                    "source": f"source-{index % 4}",
                    "created_at": f"2024-01-01T{minute // 60:02d}:{minute % 60:02d}:30Z",
                }
            ),
        )


@pytest.mark.timeout(780)
@pytest.mark.parametrize("seed", [20261121])
def test_nothing_is_lost_or_doubled_when_processes_are_killed(
    pipeline: Pipeline, posts: list[str], seed: int
) -> None:
    # Short ones, so that the time goes into kills and not into the model.
    pipeline.kafka.produce(pipeline.input, inputs([post for post in posts if len(post) <= SHORT]))
    rng = random.Random(seed)
    pipeline.worker.start()
    pipeline.trends.start()
    kills = [pipeline.worker] * WORKER_KILLS + [pipeline.trends] * TRENDS_KILLS
    rng.shuffle(kills)
    for role in kills:
        eventually(partial(at_work, role), within_s=90)
        time.sleep(rng.uniform(0.0, 0.8))
        role.kill()
        role.start()

    def finished() -> bool:
        labels, dead = pipeline.outcomes()
        return len(labels) + len(dead) >= POSTS

    eventually(finished, within_s=480, every_s=2.0)
    labels, dead = pipeline.outcomes()
    sent = Counter(
        f"{m.topic()}/{m.partition()}/{m.offset()}" for m in pipeline.kafka.read_all(pipeline.input)
    )
    assert Counter([label.input for label in labels] + dead) == sent, f"seed {seed}"
    assert len(dead) == MALFORMED

    expected = trend_counts(labels)
    eventually(lambda: pipeline.trend_total() >= len(labels), within_s=120, every_s=0.5)
    assert api_counts(pipeline.trends) == expected, f"seed {seed}"


def at_work(role: RoleProcess) -> bool:
    """Whether it has done something since its last start, so that a kill interrupts it."""
    return role.metric(PROGRESS[role.role]) > 0


def trend_counts(labels: list[Label]) -> Counter[tuple[str, str, int]]:
    """By hand: labels per emotion, source and minute."""
    return Counter(
        (label.label, label.source, int(label.created_at.timestamp()) // 60 * 60) for label in labels
    )


def api_counts(trends: RoleProcess) -> Counter[tuple[str, str, int]]:
    """The same through the API."""
    counts: Counter[tuple[str, str, int]] = Counter()
    for source in (f"source-{number}" for number in range(4)):
        answer = trends.get(
            "/api/trends",
            **{"from": "2024-01-01T00:00:00Z", "to": "2024-01-02T00:00:00Z", "step": "1m", "source": source},
        )
        for series in answer.json()["data"]["series"]:
            for at, count in series["points"]:
                if count:
                    counts[series["emotion"], source, at] += count
    return counts
