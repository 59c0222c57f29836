"""Reads labels and dead letters as anyone would: a plain consumer, no group."""

from __future__ import annotations

import logging

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, TopicPartition

from worker.clock import Clock
from worker.demo.tally import Tally
from worker.errors import DependencyError
from worker.settings import TopicSettings
from worker.types import Label

_AT_ONCE = 500
_FAULT = "moodstream.error"
_FETCH_MS = 10
"""The mock broker holds an empty answer for the whole of this time, even when a record arrives meanwhile."""

log = logging.getLogger(__name__)
_decode = msgspec.json.Decoder(Label).decode


class Reader:
    """One consumer, from one thread."""

    def __init__(self, bootstrap: str, topics: TopicSettings, tally: Tally, clock: Clock) -> None:
        self._labels = topics.labels
        self._tally = tally
        self._clock = clock
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "moodstream-demo",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": _FETCH_MS,
            },
            logger=log,
        )
        known = self._consumer.list_topics(timeout=10).topics
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic in (topics.labels, topics.dead_letters)
                for partition in known[topic].partitions
            ]
        )

    def take(self, wait_s: float) -> None:
        """Enter what has come into the books; waits so long for the first.

        Raises:
            DependencyError: the broker does not let us read.
        """
        messages = self._consumer.consume(1, wait_s)
        if messages:
            messages += self._consumer.consume(_AT_ONCE, 0)
        now = self._clock.monotonic()
        for message in messages:
            self._enter(message, now)

    def close(self) -> None:
        """Let go of the connection."""
        self._consumer.close()

    def _enter(self, message: Message, now: float) -> None:
        error = message.error()
        if error is not None:
            raise DependencyError("broker", f"cannot be read from: {error.str()}")
        key, value = message.key() or b"", message.value()
        if message.topic() != self._labels:
            fault = dict(message.headers() or ()).get(_FAULT)
            self._tally.dead_letter(key, fault.decode() if isinstance(fault, bytes) else "?", now)
        elif value is None:
            self._tally.tombstone(key)
        else:
            self._tally.label(key, _decode(value), now)
