"""Stands for Kafka's producers: which call fails how, and what was called."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from confluent_kafka import KafkaError, KafkaException

RETRIABLE = KafkaException(KafkaError(KafkaError._TIMED_OUT, "away", False, True, False))
ABORTABLE = KafkaException(KafkaError(KafkaError.ILLEGAL_GENERATION, "moved on", False, False, True))
FATAL = KafkaException(KafkaError(KafkaError.INVALID_PRODUCER_EPOCH, "over", True, False, False))
FENCED = KafkaException(KafkaError(KafkaError._FENCED, "another", True, False, False))


class Cluster:
    """What the producers of a test are connected to."""

    def __init__(self) -> None:
        self.failures: dict[str, list[Exception | Callable[[], object]]] = {}
        self.calls: list[str] = []
        self.unwritable: dict[str, KafkaError] = {}
        """Topics that may not be written, and what the cluster says of them."""

    def producer(self, _configuration: dict[str, Any], **_: Any) -> Any:
        cluster = self

        class Producer:
            def list_topics(self, topic: str, _within_s: float) -> Any:
                return SimpleNamespace(topics={topic: SimpleNamespace(error=cluster.unwritable.get(topic))})

            def __getattr__(self, name: str) -> Callable[..., None]:
                def call(*_: Any, **__: Any) -> None:
                    cluster.calls.append(name)
                    planned = cluster.failures.get(name)
                    failure = planned.pop(0) if planned else None
                    if isinstance(failure, Exception):
                        raise failure
                    if failure is not None:
                        failure()

                return call

        self.calls.append("new")
        return Producer()
