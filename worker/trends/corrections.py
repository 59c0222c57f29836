"""People's corrections on their way to `emotion-corrections`."""

from __future__ import annotations

from typing import Protocol

import msgspec

from worker.clock import Clock
from worker.settings import KafkaSettings
from worker.stream.confirmed import WITHIN_S, ConfirmedWriter, Written
from worker.types import Correction

_encode = msgspec.json.Encoder().encode


class Corrections(Protocol):
    """Where corrections go. Threads may share it."""

    def send(self, correction: Correction) -> Written:
        """Returns once the correction is safe.

        Raises:
            DependencyError: it may or may not be: send it again. The last correction of a label counts, so
                that one which arrives twice changes nothing.
        """
        ...


class KafkaCorrections:
    """`Corrections` into Kafka. The key is the post's id, so that corrections of a post keep their order."""

    def __init__(self, kafka: KafkaSettings, topic: str, clock: Clock, *, within_s: float = WITHIN_S) -> None:
        self._topic = topic
        self._writer = ConfirmedWriter(kafka, clock, what="a correction", within_s=within_s)

    def send(self, correction: Correction) -> Written:
        return self._writer.write(self._topic, _encode(correction), str(correction.id).encode())

    def close(self) -> None:
        """Nothing is left to flush: every `send` has had its answer."""
        self._writer.close()
