"""What librdkafka says about itself every other second, and what of it is looked at."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from worker.types import TopicPartition

EVERY_MS = 2000


class _Broker(msgspec.Struct):
    nodeid: int = -1
    state: str = ""


class _Partition(msgspec.Struct):
    partition: int
    ls_offset: int = -1
    """The end of what is committed."""
    app_offset: int = -1
    """Next record for us; negative before the first."""
    next_offset: int = -1
    """Next record to fetch."""

    @property
    def lag(self) -> int:
        """Records behind; negative where that is not known.

        librdkafka's own `consumer_lag` counts from the committed offset, and the consumer never hears of
        offsets that are committed in a transaction.
        """
        position = self.app_offset if self.app_offset >= 0 else self.next_offset
        return max(0, self.ls_offset - position) if min(position, self.ls_offset) >= 0 else -1


class _Topic(msgspec.Struct):
    partitions: dict[str, _Partition] = {}


class Statistics(msgspec.Struct):
    """The part of librdkafka's STATISTICS.md that matters here."""

    brokers: dict[str, _Broker] = {}
    topics: dict[str, _Topic] = {}

    @property
    def connected(self) -> bool:
        """Whether a broker is connected; those of the bootstrap list alone do not count."""
        return any(broker.nodeid >= 0 and broker.state == "UP" for broker in self.brokers.values())

    def lags(self) -> Iterator[tuple[TopicPartition, int]]:
        """Records behind, of each partition for which that is known."""
        for name, topic in self.topics.items():
            for part in topic.partitions.values():
                if (lag := part.lag) >= 0:
                    yield TopicPartition(name, part.partition), lag


def parse(text: str) -> Statistics:
    """The statistics in the callback's JSON."""
    return _DECODER.decode(text)


_DECODER = msgspec.json.Decoder(Statistics)
