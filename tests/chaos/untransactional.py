"""A worker without transactions, so that the checker has something to find. No setting leads here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from confluent_kafka import KafkaException, Producer
from confluent_kafka import TopicPartition as KafkaTopicPartition

from tests.chaos import process
from worker.stream import kafka_publisher, role
from worker.stream.edges import AbortedError
from worker.types import OutRecord, TopicPartition

_FLUSH_S = 30.0


class UntransactionalPublisher(kafka_publisher.KafkaPublisher):
    """Sends, waits for the confirmations, and commits the offsets afterwards: at least once."""

    def open(self) -> None:
        if self._producer is None:
            named = self._configuration.items()
            self._producer = Producer({name: value for name, value in named if "transaction" not in name})

    def publish(
        self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int], note: str = ""
    ) -> None:
        self.open()
        assert self._producer is not None
        kafka_publisher._produce(self._producer, records)
        if self._producer.flush(_FLUSH_S):
            raise AbortedError("not all was confirmed")
        source: Any = self._group_metadata
        consumer = source.__self__._consumer
        offsets = [KafkaTopicPartition(*partition, offset, note) for partition, offset in positions.items()]
        try:
            consumer.commit(offsets=offsets, asynchronous=False)
        except KafkaException as error:
            raise AbortedError(str(error)) from error


if __name__ == "__main__":
    setattr(role, "KafkaPublisher", UntransactionalPublisher)  # noqa: B010 - it is not exported
    process.run()
