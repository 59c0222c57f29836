"""A small proof that trends equal a count by hand; `make trends-proof` is the one of 200,000 labels."""

from __future__ import annotations

from pathlib import Path

from tests.support.kafka import KafkaUnderTest
from tests.trends_proof.run import run
from worker.bench.texts import read_texts
from worker.local.redis import RealRedis


def test_every_number_is_that_of_a_count_by_hand(
    kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path
) -> None:
    del redis_server  # it starts one of its own; without redis-server this is skipped
    found = run(kafka, read_texts(None), 5000, seed=1, folder=tmp_path)
    assert found.good, found
    assert found.counted + found.late + found.early == found.records + found.doubled
    assert min(found.late, found.early, found.doubled, found.deleted, found.killed) > 0
    assert found.redelivered == 8
