"""The promise: every input offset labelled or dead-lettered exactly once, and trends equal to the labels,
whatever is killed and whenever."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import msgspec
import pytest

from tests.support.kafka import KafkaUnderTest
from tests.support.pipeline import Pipeline
from tests.support.roles import RoleProcess
from tests.support.traffic import Traffic
from tests.support.waiting import eventually
from worker.local.redis import RealRedis
from worker.types import Label, OutRecord

PROGRESS = {
    "worker": "moodstream_records_published_total",
    "trends": "moodstream_trends_labels_applied_total",
}
PER_S, MALFORMED_EVERY = 1000, 300
WORKER_KILLS, TRENDS_KILLS = 5, 3
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
def pipeline(
    kafka: KafkaUnderTest, redis_server: RealRedis, small_model: Path, tmp_path: Path
) -> Iterator[Pipeline]:
    # Small batches, so that there are many to interrupt.
    made = Pipeline(
        kafka,
        redis_server,
        tmp_path,
        MOODSTREAM_MODEL__PATH=str(small_model),
        MOODSTREAM_BATCH__MAX_RECORDS="200",
    )
    yield made
    made.close()


def record(texts: Sequence[str], index: int) -> OutRecord:
    """Posts over a day of event time from four sources, with malformed ones among them."""
    key = b"author-%d" % (index % 997)
    if index % MALFORMED_EVERY == MALFORMED_EVERY // 2:
        return OutRecord("", key, BAD[index // MALFORMED_EVERY % len(BAD)])
    minute = index % 1440
    post = {
        "id": index,
        "text": texts[index % len(texts)],
        "source": f"source-{index % 4}",
        "created_at": f"2024-01-01T{minute // 60:02d}:{minute % 60:02d}:30Z",
    }
    return OutRecord("", key, msgspec.json.encode(post))


@pytest.mark.timeout(600)
@pytest.mark.parametrize("seed", [20261121])
def test_nothing_is_lost_or_doubled_when_processes_are_killed(
    pipeline: Pipeline, posts: list[str], seed: int
) -> None:
    rng = random.Random(seed)
    pipeline.worker.start()
    pipeline.trends.start()
    kills = [pipeline.worker] * WORKER_KILLS + [pipeline.trends] * TRENDS_KILLS
    rng.shuffle(kills)
    with Traffic(pipeline.kafka, pipeline.input, partial(record, posts), per_s=PER_S) as traffic:
        for role in kills:
            eventually(partial(at_work, role), within_s=90)
            time.sleep(rng.uniform(0.0, 0.8))
            role.kill()
            role.start()

    eventually(pipeline.caught_up, within_s=240, every_s=0.5)
    labels, dead = pipeline.outcomes()
    sent = Counter(
        f"{m.topic()}/{m.partition()}/{m.offset()}" for m in pipeline.kafka.read_all(pipeline.input)
    )
    assert sent.total() == traffic.sent
    assert Counter([label.input for label in labels] + dead) == sent, f"seed {seed}"
    assert len(dead) == len(range(MALFORMED_EVERY // 2, traffic.sent, MALFORMED_EVERY))

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
