"""The control topic on a real Kafka."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.kafka import KafkaUnderTest, unique
from worker.control.topic import ControlWriter
from worker.errors import DependencyError
from worker.settings import KafkaSettings
from worker.stream.connection import librdkafka


def test_a_topic_that_is_not_there_is_told_each_time(
    kafka: KafkaUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also once the client knows so, which it says in another way: a worker that ends then must end well."""

    def soon(settings: KafkaSettings, **more: Any) -> dict[str, Any]:
        return librdkafka(settings, **more, **{"topic.metadata.propagation.max.ms": 0})  # by default 30 s

    monkeypatch.setattr("worker.control.topic.librdkafka", soon)
    writer = ControlWriter(kafka.settings, unique("nowhere"))
    for _ in range(3):
        with pytest.raises(DependencyError, match="moodstream topics check"):
            writer.write("pause", None, within_s=5)
