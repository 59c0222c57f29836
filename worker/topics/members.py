"""How many members a consumer group has."""

from __future__ import annotations

from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient

from worker.errors import DependencyError
from worker.settings import KafkaSettings
from worker.stream.connection import client_logger, librdkafka
from worker.stream.refusal import refusal, refused

_ANSWER_S = 10.0


def count_members(kafka: KafkaSettings, group_id: str) -> int:
    """Members of a group; 0 where there is no such group.

    With confluent-kafka, because kafka-python cannot describe a group of the consumer protocol (KIP-848).

    Raises:
        DependencyError: Kafka did not say.
    """
    admin = AdminClient(librdkafka(kafka), logger=client_logger())
    try:
        found = admin.describe_consumer_groups([group_id], request_timeout=_ANSWER_S)[group_id].result(
            _ANSWER_S
        )
    except KafkaException as error:
        if "GROUP_ID_NOT_FOUND" in str(error):
            return 0
        if refused(error.args[0]):
            raise refusal(error.args[0], kafka, f"group {group_id}") from error
        raise DependencyError("kafka", f"group {group_id}: {error.args[0].str()}") from error
    return len(found.members)
