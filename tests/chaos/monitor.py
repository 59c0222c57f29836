"""What comes out while faults go on: how long each partition stood still, and when it moved again."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field
from typing import NamedTuple

import msgspec
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from worker.settings import Settings


class _Arrived(msgspec.Struct):
    id: str | int
    input: str


_decode = msgspec.json.Decoder(_Arrived).decode


@dataclass
class Watch:
    """Waits until every input partition has had a label of a post that was sent after `since`."""

    what: str
    since: float
    """Wall clock."""
    pending: set[str]
    took_s: float | None = None


class Arrival(NamedTuple):
    """One label."""

    at: float
    """When it was seen, committed; wall clock."""
    delay_s: float
    """Since its post was sent."""


@dataclass
class Seen:
    """What was seen so far."""

    labels: int = 0
    last: dict[str, float] = field(default_factory=dict)
    """Input partition to the time of its last label."""
    longest_stall_s: float = 0.0
    longest_stall_of: str = ""
    arrivals: list[Arrival] = field(default_factory=list)
    """Of all labels, in their order."""


class Monitor:
    """Reads the labels topic, read_committed, in a thread of its own."""

    def __init__(self, bootstrap: str, topic: str, partitions: int, inputs: set[str]) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": "chaos-monitor",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                "fetch.wait.max.ms": 100,
                "reconnect.backoff.max.ms": 500,
            }
        )
        self._consumer.assign([TopicPartition(topic, n, OFFSET_BEGINNING) for n in range(partitions)])
        self._inputs = inputs
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="monitor", daemon=True)
        self._watches: list[Watch] = []
        self.done: list[Watch] = []
        self.seen = Seen()

    @classmethod
    def of(cls, settings: Settings) -> Monitor:
        """Of the inputs and the labels topic of these settings."""
        topics = settings.topics
        inputs = {f"{topic}/{number}" for topic in topics.inputs for number in range(topics.partitions)}
        return cls(settings.kafka.bootstrap_servers, topics.labels, topics.partitions, inputs)

    def start(self) -> None:
        self._thread.start()

    def watch(self, what: str) -> Watch:
        """Begin to measure a recovery."""
        watch = Watch(what, time.time(), set(self._inputs))
        with self._lock:
            self._watches.append(watch)
        return watch

    def flowing(self) -> bool:
        """Whether every input partition has had a label."""
        return self.seen.last.keys() >= self._inputs

    def begin_measuring(self) -> None:
        """Forget the stalls of the start."""
        with self._lock:
            self.seen.longest_stall_s = 0.0
            self.seen.last = dict.fromkeys(self.seen.last, time.time())
            self.seen.arrivals.clear()

    def stop(self) -> None:
        self._stop.set()
        self._thread.join(10)
        self._consumer.close()

    def _run(self) -> None:
        while not self._stop.is_set():
            for message in self._consumer.consume(500, 0.1):
                value = message.value()
                if message.error() is None and value is not None:
                    with self._lock:
                        self._take(_decode(value), time.time())

    def _take(self, label: _Arrived, now: float) -> None:
        partition = label.input.rpartition("/")[0]
        sent = int(str(label.id).rpartition("/")[2]) / 1000
        seen = self.seen
        seen.labels += 1
        seen.arrivals.append(Arrival(now, now - sent))
        stall = now - seen.last.get(partition, now)
        if stall > seen.longest_stall_s:
            seen.longest_stall_s, seen.longest_stall_of = stall, partition
        seen.last[partition] = now
        for watch in self._watches:
            if sent >= watch.since:
                watch.pending.discard(partition)
                if not watch.pending:
                    watch.took_s = now - watch.since
                    self.done.append(watch)
        self._watches = [watch for watch in self._watches if watch.pending]
