"""The control topic on a real Kafka."""

from __future__ import annotations

from functools import partial

import pytest

from tests.support.kafka import KafkaUnderTest, unique
from worker.control import topic
from worker.errors import DependencyError


def test_a_topic_that_is_not_there_is_told_each_time(
    kafka: KafkaUnderTest, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also once the client knows so, which it says in another way: a worker that ends then must end well."""
    knows_soon = {"topic.metadata.propagation.max.ms": 0}  # by default 30 s
    monkeypatch.setattr(topic, "librdkafka", partial(topic.librdkafka, **knows_soon))
    writer = topic.ControlWriter(kafka.settings, unique("nowhere"))
    for _ in range(3):
        with pytest.raises(DependencyError, match="moodstream topics check"):
            writer.write("pause", None, within_s=5)
