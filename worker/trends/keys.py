"""The names of everything that trends keep in Redis.

    moodstream:emotion-labels:partitions             set: every partition that was ever counted
    {moodstream:emotion-labels:3}:offset             "generation:offset", never expires
    {moodstream:emotion-labels:3}:4f1c:sources       set: the sources that are counted by name
    {moodstream:emotion-labels:3}:4f1c:h:490742      hash of an hour: "minute|emotion|source" -> count
    {moodstream:emotion-labels:3}:4f1c:d:20447       hash of a day: "hour|emotion|source" -> count

What stands in braces is the hash tag: all keys of a partition live on one node of a cluster.
"""

from __future__ import annotations

from typing import NamedTuple

from worker.trends.windows import Bucket, Slot


class Keys(NamedTuple):
    """The names for one labels topic in one namespace."""

    namespace: str
    topic: str

    @property
    def partitions(self) -> str:
        return f"{self.namespace}:{self.topic}:partitions"

    def offset(self, partition: int | str) -> str:
        return f"{{{self.namespace}:{self.topic}:{partition}}}:offset"

    def sources(self, partition: int, generation: str) -> str:
        return f"{{{self.namespace}:{self.topic}:{partition}}}:{generation}:sources"

    def bucket(self, partition: int, generation: str, bucket: Bucket) -> str:
        return f"{{{self.namespace}:{self.topic}:{partition}}}:{generation}:{bucket.letter}:{bucket.number}"

    @property
    def every_offset(self) -> str:
        """A pattern for SCAN. Namespaces and topics hold none of its special characters."""
        return self.offset("*")

    @property
    def every_count(self) -> str:
        """A pattern for SCAN: all but the offsets and the set of partitions."""
        return f"{{{self.namespace}:{self.topic}:*}}:*:*"

    @staticmethod
    def parse_count(key: str) -> tuple[int, str]:
        """Partition and generation of a key that `every_count` finds."""
        tag, _, rest = key.partition("}:")
        return int(tag.rpartition(":")[2]), rest.partition(":")[0]


def field_prefix(slot: Slot) -> str:
    """The name of a field without its source, which comes last because it may hold the separator."""
    return f"{slot.number}|{slot.emotion}|"


def parse_field(field: bytes) -> Slot:
    """The slot that a field stands for."""
    number, emotion, source = field.decode().split("|", 2)
    return Slot(int(number), emotion, source)
