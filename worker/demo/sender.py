"""Sends records at a steady rate."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from itertools import islice

from confluent_kafka import KafkaError, Message, Producer

from worker.clock import Clock
from worker.demo.pace import Pace
from worker.demo.records import Made, RecordMaker
from worker.demo.tally import Tally
from worker.errors import DependencyError

_MOST_WAITING = 2000
"""Unanswered records. A rate beyond the model's is held back here: the mock broker keeps 5 MiB a partition
and forgets the oldest records, read or not."""
_NO_ROOM_S = 0.01
_PAST_PER_MINUTE = 20.0
_FLUSH_S = 5.0

log = logging.getLogger(__name__)


class Sender:
    """One producer, from one thread."""

    def __init__(
        self,
        bootstrap: str,
        maker: RecordMaker,
        tally: Tally,
        rate: float,
        clock: Clock,
        *,
        past_minutes: float = 0,
    ) -> None:
        self._maker = maker
        self._tally = tally
        self._clock = clock
        self._rate = rate
        self._past: Iterator[Made] | None = maker.past(clock.time(), past_minutes, _PAST_PER_MINUTE)
        self._pace = Pace(rate, clock.monotonic())
        self._sent = 0
        self._refused: str | None = None
        self._producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 2}, logger=log)

    @property
    def live(self) -> bool:
        """Whether the past is written and answered, and posts are sent at the rate."""
        return self._past is None

    def send_due(self) -> float:
        """Send what is due, the past first; answers how many seconds to wait for the next.

        Raises:
            DependencyError: the broker has refused a record.
        """
        room = _MOST_WAITING - self._tally.waiting
        wait_s = self._send_past(room) if self._past is not None else self._send_live(room)
        self._producer.poll(0)
        if self._refused is not None:
            raise DependencyError("mock broker", f"refused a record: {self._refused}")
        return wait_s

    def close(self) -> None:
        """Wait until the broker has everything."""
        self._producer.flush(_FLUSH_S)

    def _send_past(self, room: int) -> float:
        """As fast as it is taken. The rate begins when all is answered: no post waits behind the past."""
        assert self._past is not None  # noqa: S101
        some = list(islice(self._past, max(0, room)))
        for made in some:
            self._send(made)
        if not some and not self._tally.waiting:
            self._past = None
            self._pace = Pace(self._rate, self._clock.monotonic())
        return _NO_ROOM_S

    def _send_live(self, room: int) -> float:
        due = self._pace.due(self._clock.monotonic()) - self._sent
        for _ in range(min(due, room)):
            self._send(self._maker.make(self._clock.time()))
            self._sent += 1
        return _NO_ROOM_S if due > room else self._pace.wait_s(self._sent, self._clock.monotonic())

    def _send(self, made: Made) -> None:
        self._tally.sent(made, self._clock.monotonic())
        self._producer.produce(made.topic, key=made.key, value=made.value, on_delivery=self._delivered)

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is not None:
            self._refused = error.str()
