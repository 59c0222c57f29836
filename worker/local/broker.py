"""librdkafka's in-memory Kafka broker: there in milliseconds, gone with its owner.

It speaks the real protocol and is good for demos and fast tests. It proves nothing about
transactions (offsets sent to one are not stored), aborted records (they are returned) or offsets by time
(not served): for those there is `worker.local.kafka`.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager

from confluent_kafka import KafkaException, Producer

from worker.errors import DependencyError

PARTITIONS = 4
"""What the broker gives every topic; it cannot be told otherwise."""

_log = logging.getLogger(__name__)


@contextmanager
def mock_broker(*topics: str) -> Iterator[str]:
    """Run the broker with these topics; yields its `bootstrap.servers`. All is lost at the end."""
    owner = Producer(
        {
            "test.mock.num.brokers": 1,
            "bootstrap.servers": "replaced-by-the-mock:0",
            "logger": _log,
        }
    )
    try:
        metadata = owner.list_topics(timeout=5)
        for topic in topics:
            owner.list_topics(topic, timeout=5)  # asking for a topic creates it
    except KafkaException as error:
        raise DependencyError("mock broker", str(error)) from error
    try:
        yield ",".join(f"{broker.host}:{broker.port}" for broker in metadata.brokers.values())
    finally:
        del owner  # its last reference: the broker goes with it
