"""The judgements as they stand in Kafka, read without the role: for reports and exports."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from worker.clock import Clock
from worker.settings import Settings
from worker.topics.connect import WAIT_S
from worker.topics.log_reader import LogReader
from worker.types import Judgement

_decode = msgspec.json.Decoder(Judgement).decode


class Stored(NamedTuple):
    """What the topic held at one moment."""

    judgements: list[Judgement]
    pending: int
    """Corrections that the role has not dealt with yet, at most: transaction markers count too."""


def read(settings: Settings, clock: Clock) -> Stored:
    """The last judgement of each label, up to the topic's end as of now.

    Raises:
        ConfigurationError: there is no such topic.
        DependencyError: Kafka does not answer, or refuses us.
    """
    kafka, topics, group = settings.kafka, settings.topics, settings.quality.group_id
    with LogReader(kafka, topics.corrections, group, wait_s=WAIT_S, clock=clock) as corrections:
        pending = sum(span.end - span.start for span in corrections.spans().values())
    last: dict[bytes | None, bytes] = {}
    # A group that commits nothing: from the beginning.
    with LogReader(kafka, topics.judgements, f"{group}-reader", wait_s=WAIT_S, clock=clock) as judgements:
        for record in judgements.read(judgements.spans()):
            if record.value is None:
                last.pop(record.key, None)
            else:
                last[record.key] = record.value
    return Stored([_decode(value) for value in last.values()], pending)
