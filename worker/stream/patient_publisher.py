"""The worker's publisher for commands: waits for a cluster that is away for so long, then says so."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping, Sequence

from worker.clock import Clock, backoff
from worker.errors import DataLossAvertedError, DependencyError
from worker.metrics import Metrics
from worker.settings import Settings
from worker.stream.asking import Asking
from worker.stream.edges import AbortedError
from worker.stream.kafka_publisher import KafkaPublisher
from worker.stream.own_group import Committed, OwnGroup
from worker.types import OutRecord, TopicPartition


class PatientPublisher:
    """Records and a group's offsets in one transaction, with patience for `wait_s` seconds each time.

    Its transactional id is `GROUP-NAME`: whoever comes later under the same name fences it. But a producer
    that is lost (its transaction was open for too long, because this process or its machine stood still, or
    the cluster was away) can only be followed by one that itself fences whoever came meanwhile. So that it
    does not send again what another has sent, each transaction leaves a note of its own beside the offsets
    that it commits: what is committed then says whether the last transaction happened, and whether somebody
    else has gone on since.
    """

    def __init__(
        self,
        settings: Settings,
        group: str,
        name: str,
        *,
        outputs: Sequence[str],
        own: OwnGroup,
        wait_s: float,
        clock: Clock,
        metrics: Metrics | None = None,
        go_on: Callable[[], bool] = lambda: True,
    ) -> None:
        """`own`: the group. `go_on`: asked while the cluster is away; false ends the patience."""
        self._clock = clock
        self._wait_s = wait_s
        self._until = clock.monotonic() + wait_s
        self._go_on = go_on
        self._where = f"Kafka at {settings.kafka.bootstrap_servers}"
        self._own = own
        self._asked = Asking(settings.kafka, wait_s=wait_s, clock=clock, go_on=go_on)
        self._who, self._sent = uuid.uuid4().hex, 0
        self._stands: Mapping[TopicPartition, Committed] = {}
        """What is committed where nobody but us has sent anything."""
        self._publisher = KafkaPublisher(
            settings.kafka,
            settings.topics,
            settings.worker.model_copy(update={"group_id": group, "instance_id": name}),
            group_metadata=own.metadata,
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
        self._open()
        self._stands = self._asked(self._own.committed)

    def _open(self) -> None:
        try:
            self._publisher.open()
        except AbortedError as error:
            raise DependencyError(self._where, str(error)) from error

    def send(self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> None:
        """All of it or nothing. Without `positions` once or, where the cluster was away, perhaps twice.

        Raises:
            DependencyError: no broker answered in time, or it refused.
            DataLossAvertedError: somebody else has taken over under our name.
        """
        self._until = self._clock.monotonic() + self._wait_s
        self._sent += 1
        note = f"{self._who}/{self._sent}"
        wanted = {**self._stands, **{one: Committed(at, note) for one, at in positions.items()}}
        for pause_s in backoff():
            try:
                self._publisher.publish(records, positions, note)
                break
            except AbortedError as error:
                if not self._patient():
                    raise DependencyError(self._where, str(error)) from error
                self._clock.sleep(pause_s)
            if self._publisher.lost and self._has_happened(wanted):
                break
        self._stands = wanted

    def _has_happened(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        """Begin anew under our name; whether the transaction that was to commit this has done so.

        Raises:
            DataLossAvertedError: another one has committed something since.
        """
        self._compare(wanted)  # who goes on in our place shall not be fenced by us
        self._open()
        return self._compare(wanted)  # now that nobody else can commit

    def _compare(self, wanted: Mapping[TopicPartition, Committed]) -> bool:
        found = self._asked(self._own.committed)
        if found not in (self._stands, wanted):
            raise DataLossAvertedError(
                "another process was started in this one's place while it stood still, and goes on there"
            )
        return found != self._stands
