"""The worker's publisher for commands: waits for a cluster that is away for so long, then says so."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from worker.clock import Clock, backoff
from worker.errors import DependencyError
from worker.metrics import Metrics
from worker.settings import Settings
from worker.stream.edges import AbortedError
from worker.stream.kafka_publisher import KafkaPublisher
from worker.types import OutRecord, TopicPartition


class PatientPublisher:
    """Records and a group's offsets in one transaction, with patience for `wait_s` seconds each time.

    Its transactional id is `GROUP-NAME`: whoever comes later under the same name fences it.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        name: str,
        *,
        outputs: Sequence[str],
        group_metadata: Callable[[], Any],
        wait_s: float,
        clock: Clock,
        metrics: Metrics | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """`go_on`: asked while the cluster is away; false ends the patience."""
        self._clock = clock
        self._wait_s = wait_s
        self._until = clock.monotonic() + wait_s
        self._go_on = go_on
        self._where = f"Kafka at {settings.kafka.bootstrap_servers}"
        self._publisher = KafkaPublisher(
            settings.kafka,
            settings.topics,
            settings.worker.model_copy(update={"group_id": group, "instance_id": name}),
            group_metadata=group_metadata,
            keep_waiting=self._patient,
            clock=clock,
            metrics=metrics or Metrics(),
            outputs=tuple(outputs),
            forgiving=False,  # who comes next under our name goes on in our place
        )

    def _patient(self) -> bool:
        return self._clock.monotonic() < self._until and self._go_on()

    def open(self) -> None:
        """Fence whoever had this name before; what it left open is rolled back.

        Raises:
            DependencyError: no broker answered in time, or it refused.
        """
        self._until = self._clock.monotonic() + self._wait_s
        try:
            self._publisher.open()
        except AbortedError as error:
            raise DependencyError(self._where, str(error)) from error

    def send(self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> None:
        """All of it or nothing.

        Raises:
            DependencyError: no broker answered in time, or it refused.
            DataLossAvertedError: somebody else has taken over under our name.
        """
        self._until = self._clock.monotonic() + self._wait_s
        for pause_s in backoff():
            try:
                self._publisher.publish(records, positions)
            except AbortedError as error:
                if not self._patient():
                    raise DependencyError(self._where, str(error)) from error
                self._clock.sleep(pause_s)
            else:
                return
