"""A short fuzz run; `make fuzz ARGS="--records 1000000"` is a long one."""

from __future__ import annotations

from pathlib import Path

from tests.fuzz.run import run
from tests.support.kafka import KafkaUnderTest


def test_whatever_is_sent_each_record_has_one_outcome(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    found = run(kafka, 20_000, seed=20_261_125, model="null", folder=tmp_path)
    assert found.good, found
    assert found.labelled + found.tombstones + found.dead_letters == found.records
    assert found.max_mb - found.idle_mb < 250, found
