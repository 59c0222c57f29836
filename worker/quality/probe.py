"""What Kafka itself says, asked beside Faust: whether it answers at all, and how far a topic goes."""

from __future__ import annotations

from collections.abc import Mapping

from confluent_kafka import Consumer, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient

from worker.errors import DependencyError, UnansweredError
from worker.settings import KafkaSettings
from worker.stream.connection import client_logger, librdkafka
from worker.stream.refusal import refused

_WITHIN_S = 3.0


class Probe:
    """Asks and waits for the answer. Belongs to one thread.

    Faust's client does not say when Kafka is away; and "nothing to do" and "stuck" look alike from inside it.
    """

    def __init__(self, kafka: KafkaSettings, group_id: str) -> None:
        self._group_id = group_id
        self._admin = AdminClient(librdkafka(kafka, log_level=2), logger=client_logger())
        self._consumer = Consumer(
            librdkafka(kafka, **{"group.id": group_id, "enable.auto.commit": False, "log_level": 2}),
            logger=client_logger(),
        )

    def partitions(self) -> Mapping[str, int]:
        """How many partitions each topic has.

        Raises:
            UnansweredError: Kafka did not answer in time.
            DependencyError: it refuses us.
        """
        try:
            found = self._consumer.list_topics(timeout=_WITHIN_S).topics
        except KafkaException as error:
            raise why(error) from error
        return {name: len(topic.partitions) for name, topic in found.items() if topic.error is None}

    def end(self, topic: str, partition: int) -> int:
        """The offset after the last record.

        Raises:
            UnansweredError: Kafka did not answer in time.
            DependencyError: it refuses us.
        """
        try:
            return self._consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=_WITHIN_S)[
                1
            ]
        except KafkaException as error:
            raise why(error) from error

    def has_owner(self, topic: str, partition: int) -> bool:
        """Whether any member of the group has the partition.

        Raises:
            UnansweredError: Kafka did not answer in time.
            DependencyError: it refuses us.
        """
        try:
            group = self._admin.describe_consumer_groups([self._group_id], request_timeout=_WITHIN_S)
            members = group[self._group_id].result(_WITHIN_S).members
        except KafkaException as error:
            raise why(error) from error
        except TimeoutError as error:
            raise UnansweredError("the group's coordinator did not answer") from error
        where = (topic, partition)
        return any(
            (owned.topic, owned.partition) == where
            for member in members
            if member.assignment is not None
            for owned in member.assignment.topic_partitions
        )

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()


def why(error: KafkaException) -> UnansweredError | DependencyError:
    """What an error of the client means: to wait, or that Kafka refuses us."""
    reason = error.args[0]
    if refused(reason):
        return DependencyError("kafka", f"{reason.str()}: check the credentials and the ACLs")
    return UnansweredError(reason.str())
