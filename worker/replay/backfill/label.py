"""The first half of a backfill: the loop of the stream, from parts of the inputs into topics of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

from worker.clock import Clock
from worker.formats.opened import Encode
from worker.metrics import Metrics
from worker.model.classifier import Classifier
from worker.process import few_garbage_collections
from worker.replay.backfill.source import BoundedSource
from worker.settings import Settings
from worker.stream.decode import decode
from worker.stream.decoders import Decode
from worker.stream.loop import Loop
from worker.stream.meter import Meter
from worker.stream.patient_publisher import PatientPublisher
from worker.stream.role import builder, destination, limits
from worker.types import OutRecord, TopicPartition
from worker.web.health import Health

_NO_HURRY_S = 86_400.0

Outcome = Literal["labels", "tombstones", "dead_letters"]
Send = Callable[[Sequence[OutRecord], Mapping[TopicPartition, int]], None]
Progress = Callable[[int, int], None]
"""Told how much is done, and of how much."""


class TallyingPublisher:
    """A `Publisher` for commands that counts what it has published and remembers what is committed."""

    def __init__(self, send: Send, labels: str, told: Callable[[], None]) -> None:
        """`send`: a patient publisher's; `labels`: the topic; `told` is called after each publication."""
        self._send = send
        self._labels = labels
        self._told = told
        self.published: Counter[Outcome] = Counter()
        self._committed: dict[TopicPartition, int] = {}

    def publish(self, records: Sequence[OutRecord], positions: Mapping[TopicPartition, int]) -> None:
        self._send(records, positions)
        self.published.update(map(self._outcome, records))
        self._committed.update(positions)
        self._told()

    def arrive(self, ends: Mapping[TopicPartition, int]) -> None:
        """Commit the ends: behind the last record that was published there may be some not wanted."""
        behind = {one: end for one, end in ends.items() if self._committed.get(one, -1) < end}
        if behind:
            self.publish([], behind)

    def close(self) -> None:
        """What sends is the caller's."""

    def _outcome(self, record: OutRecord) -> Outcome:
        if record.topic != self._labels:
            return "dead_letters"
        return "tombstones" if record.value is None else "labels"


def label(
    settings: Settings,
    classifier: Classifier,
    source: BoundedSource,
    sender: PatientPublisher,
    *,
    clock: Clock,
    stopped: Callable[[], bool],
    progress: Progress,
    encode: Encode | None = None,
    decode: Decode = decode,
) -> Counter[Outcome]:
    """Label what a source has left, until it is exhausted or `stopped` says so; answers what was published.

    `settings` hold the topics that are published to. `encode` and `decode`: what labels and posts are written
    in; JSON where not given.

    Raises:
        DependencyError: no broker answered in time, or it refused.
        DataLossAvertedError: another run of this backfill has taken over, or the model fails on most posts.
    """
    worker = settings.worker
    publisher = TallyingPublisher(sender.send, settings.topics.labels, lambda: progress(*source.progress))
    loop = Loop(
        source=source,
        publisher=publisher,
        model=classifier,
        builder=builder(settings),
        destination=destination(settings, classifier, encode),
        clock=clock,
        meter=Meter(Metrics(), Health(clock, worker.stall_s, ())),
        limits=limits(worker.dead_letters),
        in_a_row=worker.dead_letters.model_in_a_row,
        decode=decode,
    )
    with few_garbage_collections():
        loop.run(lambda: stopped() or source.exhausted, _NO_HURRY_S)
    if not stopped():
        publisher.arrive(source.ends)
    progress(*source.progress)
    return publisher.published
