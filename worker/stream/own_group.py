"""A consumer group that one process at a time has for itself, and what it has committed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaTopicPartition

from worker.stream.asking import ANSWER_S
from worker.types import TopicPartition


class Committed(NamedTuple):
    """How far a group is on a partition."""

    offset: int
    """The next one to read; negative where nothing is committed."""
    note: str = ""
    """What whoever committed it has written beside it."""


class OwnGroup:
    """The group of a consumer that has joined no group (`assign`): no generation keeps two of them apart."""

    def __init__(self, consumer: Consumer, partitions: Iterable[TopicPartition]) -> None:
        """`partitions`: all that it ever commits."""
        self._consumer = consumer
        self._partitions = tuple(partitions)

    def metadata(self) -> Any:
        """Who we are, for the transaction that commits our offsets."""
        return self._consumer.consumer_group_metadata()

    def committed(self) -> dict[TopicPartition, Committed]:
        """Of every partition; what a transaction has done that is still open is waited for.

        Raises:
            KafkaException: the cluster does not say.
        """
        asked = [KafkaTopicPartition(*partition) for partition in self._partitions]
        return {
            TopicPartition(found.topic, found.partition): Committed(found.offset, found.metadata or "")
            for found in self._consumer.committed(asked, ANSWER_S)
        }
