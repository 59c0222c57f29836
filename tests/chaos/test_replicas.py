"""The look into brokers' files, on files that a real Kafka wrote."""

from __future__ import annotations

import shutil
from itertools import pairwise
from pathlib import Path

from tests.chaos.replicas import batches, overlapping
from tests.support.kafka import KafkaUnderTest
from worker.local.kafka import RealKafka


def test_a_batch_that_lies_there_twice_is_found(tmp_path: Path) -> None:
    with RealKafka() as kafka:
        under_test = KafkaUnderTest(kafka.bootstrap)
        topic = under_test.topic("labels")
        for number in range(3):
            under_test.produce(topic, [f"{number}-{n}".encode() for n in range(10)])
        [path] = kafka.folder.glob(f"**/{topic}-0/*.log")
        assert overlapping(path.parents[1]) == []
        copy = tmp_path / path.parent.name / path.name
        copy.parent.mkdir()
        shutil.copy(path, copy)
    found = list(batches(copy))
    assert found[0].first == 0
    assert found[-1].last == 29
    assert all(after.first == before.last + 1 for before, after in pairwise(found))
    content, second = copy.read_bytes(), found[1]
    copy.write_bytes(
        content[: found[2].at] + content[second.at : found[2].at] + content[found[2].at :] + b"\0" * 30
    )
    [told] = overlapping(tmp_path)
    assert f"{copy.parent.name}/{copy.name} at byte {found[2].at}" in told
    assert f"offsets {second.first} to {second.last} behind {second.last}" in told
