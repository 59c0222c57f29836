"""Posts that keep coming while a test does something to those who read them."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self

from confluent_kafka import Producer

from tests.support.kafka import KafkaUnderTest
from worker.clock import SystemClock
from worker.demo.pace import Pace
from worker.types import OutRecord

_TURN_S = 0.05


class Traffic:
    """Records at a steady rate while the block runs; at its end Kafka has all that were sent.

    What is under way does then not hang on how fast this machine is: there is always something to interrupt.
    """

    def __init__(
        self, kafka: KafkaUnderTest, topic: str, record: Callable[[int], OutRecord], *, per_s: float
    ) -> None:
        """`record`: what to send as the first (0), the second (1), ..."""
        self.sent = 0
        self._kafka = kafka
        self._topic = topic
        self._record = record
        self._per_s = per_s
        self._ended = threading.Event()
        self._pool = ThreadPoolExecutor(1, "traffic")

    def __enter__(self) -> Self:
        self._sending = self._pool.submit(self._send)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._pool.shutdown()
        self._sending.result()

    def _send(self) -> None:
        clock = SystemClock()
        pace = Pace(self._per_s, clock.monotonic())
        # Idempotent: a retry on a busy machine would write a post twice or after a later one.
        producer = Producer({"bootstrap.servers": self._kafka.bootstrap, "enable.idempotence": True})
        while not self._ended.wait(_TURN_S):
            for number in range(self.sent, pace.due(clock.monotonic())):
                record = self._record(number)
                producer.produce(self._topic, record.value, record.key, headers=list(record.headers))
                self.sent += 1
            producer.poll(0)
        assert producer.flush(30) == 0
