"""Topics by weight: under a backlog each gets its share, and a short queue does not wait for a long one.

Kafka's client keeps what it has fetched in one queue, in the order of its fetches: feedback that comes while
a hundred thousand tweets wait there waits for all of them. With weights, records go from that queue into a
short one for each partition; partitions that are ahead are not fetched until they are taken; and taking goes
round the topics by their weights, and within a topic round its partitions. Each partition keeps its order.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Mapping
from itertools import islice
from typing import Protocol

from worker.stream.edges import OnRevoke, Source
from worker.types import Record, TopicPartition

AHEAD = 2048
"""Records of one partition that are enough: half a second of a fast worker."""
_IN_ALL = 32_768
"""Records of all partitions, roughly: where there are many, fewer of each are enough."""
_LEAST = 64
_PULL = 4096
"""Most records taken from the client in one turn, so that it soon comes to those behind the others."""
_FETCH_BYTES = 256 * 1024
"""Of one partition in one answer: about a thousand posts. A larger record comes all the same."""
_AT_ONCE = 16
"""Records of one partition taken one after the other: turns cost time, and this is few beside a batch."""


class Queues:
    """Records waiting by partition, taken by the weights of their topics. Pure.

    It is the turn of the topic that has had the least for its weight (start-time fair queueing, Goyal et al.
    1996). One that had nothing to give has no claim to what it missed.
    """

    def __init__(self, weights: Mapping[str, int], *, max_bytes: int, ahead: int = AHEAD) -> None:
        """Empty.

        Args:
            weights: Of topics; 1 for those not named.
            max_bytes: Of all values: from there on nothing more is wanted.
            ahead: Records of a partition that are enough.
        """
        self._weights = weights
        self._max_bytes = max_bytes
        self._ahead = ahead
        self._queues: dict[str, dict[int, deque[Record]]] = {}
        self._had: dict[str, float] = {}
        """Records that each topic has had, over its weight."""
        self._now = 0.0
        """The same of the topic whose turn it was last."""
        self._held: frozenset[TopicPartition] = frozenset()
        self._n = self._bytes = 0

    def __len__(self) -> int:
        return self._n

    def add(self, records: Iterable[Record]) -> None:
        """Records as they come, each partition in the order of its offsets."""
        for record in records:
            partitions = self._queues.get(record.topic)
            if partitions is None:
                partitions = self._queues[record.topic] = {}
                self._had[record.topic] = max(self._now, self._had.get(record.topic, 0.0))
            partitions.setdefault(record.partition, deque()).append(record)
            self._n += 1
            self._bytes += len(record.value or b"")

    def take(self, limit: int) -> list[Record]:
        """At most `limit` records, as many as there are."""
        taken: list[Record] = []
        while len(taken) < limit and self._queues:
            topic = min(self._queues, key=self._had.__getitem__)
            self._now = self._had[topic]
            some = self._take_from(topic, min(_AT_ONCE, limit - len(taken)))
            self._had[topic] += len(some) / self._weights.get(topic, 1)
            taken += some
        self._n -= len(taken)
        self._bytes -= _bytes(taken)
        return taken

    def _take_from(self, topic: str, limit: int) -> list[Record]:
        """Some records of the partition whose turn it is."""
        partitions = self._queues[topic]
        number = next(iter(partitions))
        queue = partitions.pop(number)
        some = list(islice(queue, limit))
        if len(some) < len(queue):
            for _ in some:
                queue.popleft()
            partitions[number] = queue  # behind the others
        elif not partitions:
            del self._queues[topic]
        return some

    def ahead(self) -> frozenset[TopicPartition]:
        """Partitions of which nothing should be fetched now: from enough on until half of it is taken."""
        waiting = {
            TopicPartition(topic, number): len(queue)
            for topic, partitions in self._queues.items()
            for number, queue in partitions.items()
        }
        enough = min(self._ahead, max(_LEAST, _IN_ALL // max(1, len(waiting))))
        full = self._bytes >= self._max_bytes
        self._held = frozenset(
            at for at, n in waiting.items() if full or n >= (enough // 2 if at in self._held else enough)
        )
        return self._held

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Forget these: another worker reads them now."""
        for at in partitions:
            topic = self._queues.get(at.topic, {})
            gone = topic.pop(at.partition, ())
            self._n -= len(gone)
            self._bytes -= _bytes(gone)
            if not topic:
                self._queues.pop(at.topic, None)
        self._held -= frozenset(partitions)

    def clear(self) -> None:
        """Forget everything: the source goes back to what is committed."""
        self._queues.clear()
        self._held = frozenset()
        self._n = self._bytes = 0


def _bytes(records: Iterable[Record]) -> int:
    return sum(len(record.value or b"") for record in records)


class Holding(Source, Protocol):
    """A source that can leave out partitions for a while."""

    def hold(self, partitions: Collection[TopicPartition]) -> None:
        """Bring nothing of these until told otherwise, and everything of all others."""
        ...


class FairSource:
    """A `Source` that gives its topics their shares."""

    def __init__(self, source: Holding, queues: Queues) -> None:
        self._source = source
        self._queues = queues
        self._on_revoke: OnRevoke = lambda _: None

    def open(self, on_revoke: OnRevoke) -> None:
        self._on_revoke = on_revoke
        self._source.open(self._revoked)

    def take(self, limit: int, timeout_s: float) -> list[Record]:
        if not len(self._queues):
            self._queues.add(self._source.take(limit, timeout_s))
        if len(self._queues) >= limit:  # there may be more, and what matters more may be behind it
            self._queues.add(self._source.take(_PULL, 0.0))
        self._source.hold(self._queues.ahead())
        return self._queues.take(limit)

    def heartbeat(self) -> None:
        self._source.heartbeat()

    def rewind(self) -> None:
        self._queues.clear()
        self._source.rewind()

    def close(self) -> None:
        self._source.close()

    def _revoked(self, partitions: Collection[TopicPartition]) -> None:
        self._queues.drop(partitions)
        self._on_revoke(partitions)


def fair(source: Holding, weights: Mapping[str, int], queue_mb: int) -> FairSource:
    """A source by weights that holds half of `queue_mb`; the client has the other half."""
    return FairSource(source, Queues(weights, max_bytes=queue_mb * 512 * 1024))


def client_options(queue_mb: int) -> dict[str, int]:
    """For librdkafka: small answers, because what is fetched of a partition that is ahead is thrown away."""
    return {"queued.max.messages.kbytes": queue_mb * 512, "max.partition.fetch.bytes": _FETCH_BYTES}
