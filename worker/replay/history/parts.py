"""Cutting ranges into parts of fixed offsets, and records into parts. Pure.

Which records a part holds depends on its offsets alone, not on when it is read: so do its batches, and with
them the last digits of what a model in 8 bits answers.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from hashlib import blake2b

import msgspec

from worker.errors import BadRecordError
from worker.replay.history.ranges import Range
from worker.replay.history.reader import Read
from worker.stream.decode import decode
from worker.stream.decoders import Decode
from worker.types import Post, Record

_POSTS = 8192
"""About so many of a part are classified: some seconds of a CPU, lost at most by a kill."""
_OFFSETS = 1 << 20
"""Most offsets of a part, however few of its records a sample keeps: so many are looked into at once."""


class Part(msgspec.Struct, frozen=True):
    """Consecutive offsets of one partition: `start` and all up to, not including, `end`."""

    partition: int
    start: int
    end: int

    @property
    def name(self) -> str:
        """Of its file, sorted as partitions and offsets are."""
        return f"{self.partition:06d}-{self.start:020d}"


def stride(share: float) -> int:
    """Offsets of a part of which a share of the posts is kept."""
    return min(_OFFSETS, round(_POSTS / share))


def cut(ranges: Iterable[Range], offsets: int) -> list[Part]:
    """The parts of some ranges, `offsets` long at most, by partition and offset."""
    return [
        Part(one.partition, start, min(start + offsets, one.end))
        for one in sorted(ranges, key=lambda one: one.partition)
        for start in range(one.start, one.end, offsets)
    ]


def still_to_read(parts: Sequence[Part]) -> list[Range]:
    """For each partition the range from its first part to its last."""
    spans: dict[int, tuple[int, int]] = {}
    for part in parts:
        low, high = spans.get(part.partition, (part.start, part.end))
        spans[part.partition] = (min(low, part.start), max(high, part.end))
    return [Range(partition, *span) for partition, span in sorted(spans.items())]


def in_parts(
    reads: Iterable[Read], parts: Sequence[Part], keep: Callable[[Record], bool]
) -> Iterator[tuple[Part, list[Record]]]:
    """Each part with its records, as soon as it has been read to its end.

    Args:
        reads: What comes, each partition in the order of its offsets.
        parts: What is wanted, each partition's in the order of their offsets; records in none are left out.
        keep: Which records.
    """
    waiting: dict[int, deque[Part]] = {}
    for part in parts:
        waiting.setdefault(part.partition, deque()).append(part)
    held: dict[Part, list[Record]] = {part: [] for part in parts}
    for read in reads:
        for record in read.records:
            within = _part_of(record, waiting.get(record.partition, ()))
            if within is not None and keep(record):
                held[within].append(record)
        for partition, reached in read.reached.items():
            mine = waiting.get(partition)
            while mine and mine[0].end <= reached:
                part = mine.popleft()
                yield part, held.pop(part)


def _part_of(record: Record, waiting: Iterable[Part]) -> Part | None:
    """The part that a record lies in: one of the first two, or none."""
    for part in waiting:
        if record.offset < part.end:
            return part if record.offset >= part.start else None
    return None


def kept_by(share: float, decode: Decode = decode) -> Callable[[Record], bool]:
    """Which records a sample of that share keeps: by a hash of the post's id, whatever else is in the range.

    The same posts every time, and a smaller sample is part of a larger one. What is no post has no id; it is
    kept, to be counted. `decode`: what a record holds; JSON where not given.
    """
    if share >= 1:
        return lambda _: True
    below = int(share * (1 << 64))

    def keep(record: Record) -> bool:
        try:
            what = decode(record)
        except BadRecordError:
            return True
        return not isinstance(what, Post) or _hash(what.id) < below

    return keep


def _hash(post_id: str | int) -> int:
    return int.from_bytes(blake2b(str(post_id).encode("utf-8", "replace"), digest_size=8).digest())
