"""Items into an input topic, each batch with the cursor behind it, in one transaction (KIP-447)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, KafkaError

from worker.clock import Clock
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.settings import Settings, TopicSettings
from worker.sources.edges import Item
from worker.stream.asking import ANSWER_S, Asking
from worker.stream.connection import client_logger, librdkafka
from worker.stream.own_group import OwnGroup
from worker.stream.patient_publisher import PatientPublisher
from worker.topics.acls import SOURCES
from worker.types import OutRecord, TopicPartition


def refuse_unless_json(topics: TopicSettings, topic: str) -> None:
    """Sources write posts in JSON, many of them as they come: elsewhere each would be a dead letter.

    Raises:
        ConfigurationError: the topic is in another format.
    """
    kind = topics.format_of.get(topic)
    if kind is not None:
        raise ConfigurationError(
            [
                f"topics.input_formats: {topic} is {kind}, and sources write JSON: let them write to another"
                " of topics.inputs (--topic), for which no format is named"
            ]
        )


class Outlet:
    """One feed's way into one topic. The cursor is what its group has committed on partition 0."""

    def __init__(
        self,
        settings: Settings,
        topic: str,
        name: str,
        *,
        wait_s: float,
        clock: Clock,
        metrics: Metrics | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """`name`: the feed's. `wait_s`: how long a cluster that is away is waited for, each time.

        Raises:
            ConfigurationError: the topic is not JSON.
        """
        refuse_unless_json(settings.topics, topic)
        self._asked = Asking(settings.kafka, wait_s=wait_s, clock=clock, go_on=go_on, topic=topic)
        self._topic = topic
        self._at = TopicPartition(topic, 0)
        group = f"{SOURCES}{name}"
        self._consumer = Consumer(
            librdkafka(
                settings.kafka,
                **{"group.id": group, "enable.auto.commit": False, "isolation.level": "read_committed"},
            ),
            logger=client_logger(),
        )
        self._group = OwnGroup(self._consumer, [self._at])
        self._publisher = PatientPublisher(
            settings,
            group,
            topic,
            outputs=(topic,),
            own=self._group,
            wait_s=wait_s,
            clock=clock,
            metrics=metrics,
            go_on=go_on,
        )

    def open(self) -> int | None:
        """Fence an earlier process of this feed; the cursor, None where there is none yet.

        Raises:
            ConfigurationError: there is no such topic.
            DependencyError: no broker answered in time, or it refused.
        """
        self._publisher.open()  # first, so that what an earlier one had begun is over
        found = self._asked(lambda: self._consumer.list_topics(self._topic, ANSWER_S)).topics[self._topic]
        if found.error is not None and found.error.code() == KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise ConfigurationError(
                [f"there is no topic {self._topic}: `moodstream topics create` makes it"]
            )
        stored = self._asked(self._group.committed)[self._at]
        return stored.offset if stored.offset >= 0 else None

    def send(self, items: Sequence[Item]) -> None:
        """All of it, and the cursor behind the last, or nothing.

        Raises:
            DependencyError: no broker answered in time, or it refused.
            DataLossAvertedError: a later process of this feed has taken over.
        """
        records = [OutRecord(self._topic, item.key, item.value) for item in items if item.written]
        cursors = [item.cursor for item in items if item.cursor is not None]
        self._publisher.send(records, {self._at: cursors[-1]} if cursors else {})

    def close(self) -> None:
        """Let go of the connections."""
        self._consumer.close()
