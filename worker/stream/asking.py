"""A question to Kafka that is asked again while a coordinator is being elected or a broker is away."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from confluent_kafka import KafkaException

from worker.clock import Clock, backoff
from worker.errors import DependencyError
from worker.settings import KafkaSettings
from worker.stream.refusal import refusal, refused

ANSWER_S = 10.0
"""How long one asking may take."""
_T = TypeVar("_T")


class Asking:
    """Asks with patience for `wait_s` seconds each time, or until `go_on` says no."""

    def __init__(
        self,
        kafka: KafkaSettings,
        *,
        wait_s: float,
        clock: Clock,
        go_on: Callable[[], bool],
        topic: str = "",
    ) -> None:
        """`topic`: what is asked about, for the words of a refusal."""
        self._kafka = kafka
        self._wait_s = wait_s
        self._clock = clock
        self._go_on = go_on
        self._topic = topic

    def __call__(self, question: Callable[[], _T]) -> _T:
        """The answer.

        Raises:
            DependencyError: none came in time, or a refusal.
        """
        until = self._clock.monotonic() + self._wait_s
        for pause_s in backoff():
            try:
                return question()
            except KafkaException as failed:
                reason = failed.args[0]
                if refused(reason):
                    raise refusal(reason, self._kafka, self._topic) from failed
                if self._clock.monotonic() > until or not self._go_on():
                    raise DependencyError("kafka", reason.str()) from failed
                self._clock.sleep(pause_s)
        raise AssertionError("backoff never ends")
