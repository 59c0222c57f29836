"""Benchmarks over a real Kafka: what is sent is counted, each in its system."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.kafka import KafkaUnderTest
from worker.bench import api, trends
from worker.bench.latency import Load, run, schedule
from worker.bench.texts import read_texts
from worker.local.redis import RealRedis
from worker.settings import Settings
from worker.settings.worker import BatchSettings


def test_a_schedule_has_the_rate_and_is_the_same_every_time() -> None:
    load = Load(["x"], rate=500.0, seconds=20.0)

    due = schedule(load)

    assert len(due) == 10_000
    assert due[-1] == pytest.approx(20.0, rel=0.05)
    assert (np.diff(due) > 0).all()
    assert (schedule(load) == due).all()


@pytest.mark.slow
def test_posts_sent_by_schedule_are_all_answered(kafka: KafkaUnderTest, posts: list[str]) -> None:
    found = run(
        posts[:2000],
        [0.3],
        settings=Settings(batch=BatchSettings(slo_ms=100.0)),
        seconds=4.0,
        bootstrap=kafka.bootstrap,
        capacity_posts=1000,
    )

    [waits] = found.loads
    assert found.capacity > 0
    assert waits.posts == pytest.approx(0.8 * 0.3 * found.capacity * 4, rel=0.05)
    assert waits.lost == 0
    assert 0 < waits.p50_ms <= waits.p99_ms <= waits.p999_ms <= waits.worst_ms


def test_what_counts_labels_gets_to_the_end(kafka: KafkaUnderTest, redis_server: RealRedis) -> None:
    del redis_server  # each system starts one of its own; without redis-server this is skipped
    found = trends.run(
        read_texts(None),
        bootstrap=kafka.bootstrap,
        records=4000,
        minutes=60,
        queries=20,
        only=("HINCRBY", "queries"),
    )

    assert {name: system.labels for name, system in found.systems.items()} == {
        "bare loop, no text": 4000,
        "one HINCRBY a label, no text": 4000,
        "bare loop, with text": 2000,
        "trends, terms and 20 queries": 2000,
    }
    assert all(system.labels_per_s > 0 for system in found.systems.values())


def test_every_kind_of_question_is_answered_from_redis(redis_server: RealRedis) -> None:
    del redis_server  # as above
    found = api.run(read_texts(None), labels=2000, queries=5, asked=3)

    assert (found.labels, found.queries, len(found.questions)) == (2000, 5, 9)
    for took in found.questions.values():
        assert took.n == 3
        assert 0 < took.p50_ms <= took.p99_ms <= took.worst_ms
