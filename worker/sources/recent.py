"""What was written into a topic lately, read back from it: whoever was killed knows nothing else of it."""

from __future__ import annotations

from collections.abc import Iterator

from worker.clock import Clock
from worker.settings import Settings
from worker.topics.acls import SOURCES
from worker.topics.log_reader import LogReader, Span


def recent_keys(
    settings: Settings, topic: str, name: str, most: int, *, wait_s: float, clock: Clock
) -> Iterator[bytes]:
    """The keys of the last `most` records, an equal part of each partition.

    Args:
        settings: For the way to Kafka.
        topic: Of any writers.
        name: Of the feed, whose group may read there.
        most: Records.
        wait_s: How long a cluster that is away is waited for.
        clock: For that.

    Raises:
        ConfigurationError: there is no such topic.
        DependencyError: no broker answered in time, or it refused.
    """
    with LogReader(settings.kafka, topic, f"{SOURCES}{name}", wait_s=wait_s, clock=clock) as log:
        ends = {number: span.end for number, span in log.spans().items()}
        share = -(-most // len(ends))
        # Where a partition begins later than that, Kafka begins there.
        spans = {number: Span(max(0, end - share), end) for number, end in ends.items()}
        for record in log.read(spans):
            if record.key is not None:
                yield record.key
