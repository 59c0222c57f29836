"""The latency benchmark over a real Kafka: every post is counted, from its time in the schedule."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.kafka import KafkaUnderTest
from worker.bench.latency import Load, run, schedule


def test_a_schedule_has_the_rate_and_is_the_same_every_time() -> None:
    load = Load(["x"], rate=500.0, seconds=20.0)

    due = schedule(load)

    assert len(due) == 10_000
    assert due[-1] == pytest.approx(20.0, rel=0.05)
    assert (np.diff(due) > 0).all()
    assert (schedule(load) == due).all()


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_posts_sent_by_schedule_are_all_answered(kafka: KafkaUnderTest, posts: list[str]) -> None:
    found = run(
        posts[:2000],
        [0.3],
        slo_ms=100.0,
        seconds=4.0,
        bootstrap=kafka.bootstrap,
        capacity_posts=4000,
    )

    [waits] = found.loads
    assert found.capacity > 0
    assert waits.posts == pytest.approx(0.8 * 0.3 * found.capacity * 4, rel=0.05)
    assert waits.lost == 0
    assert 0 < waits.p50_ms <= waits.p99_ms <= waits.p999_ms <= waits.worst_ms
