"""Sends records at a steady rate."""

from __future__ import annotations

import logging

from confluent_kafka import KafkaError, Message, Producer

from worker.clock import Clock
from worker.demo.pace import Pace
from worker.demo.records import RecordMaker
from worker.demo.tally import Tally
from worker.errors import DependencyError

_MOST_WAITING = 2000
"""Unanswered records. A rate beyond the model's is held back here: the mock broker keeps 5 MiB a partition
and forgets the oldest records, read or not."""
_NO_ROOM_S = 0.01
_FLUSH_S = 5.0

log = logging.getLogger(__name__)


class Sender:
    """One producer, from one thread."""

    def __init__(self, bootstrap: str, maker: RecordMaker, tally: Tally, rate: float, clock: Clock) -> None:
        self._maker = maker
        self._tally = tally
        self._clock = clock
        self._pace = Pace(rate, clock.monotonic())
        self._sent = 0
        self._refused: str | None = None
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 2}, logger=log)

    def send_due(self) -> float:
        """Send what is due; answers how many seconds to wait for the next.

        Raises:
            DependencyError: the broker has refused a record.
        """
        due = self._pace.due(self._clock.monotonic()) - self._sent
        room = _MOST_WAITING - self._tally.waiting
        for _ in range(min(due, room)):
            self._send()
        self._producer.poll(0)
        if self._refused is not None:
            raise DependencyError("mock broker", f"refused a record: {self._refused}")
        return _NO_ROOM_S if due > room else self._pace.wait_s(self._sent, self._clock.monotonic())

    def close(self) -> None:
        """Wait until the broker has everything."""
        self._producer.flush(_FLUSH_S)

    def _send(self) -> None:
        made = self._maker.make(self._clock.time())
        self._tally.sent(made, self._clock.monotonic())
        self._producer.produce(made.topic, key=made.key, value=made.value, on_delivery=self._delivered)
        self._sent += 1

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused = error.str()
