"""Which dead letters were put back: records among them that say so. Pure.

A letter stays where it is when it is put back. The transaction that does it also writes a mark into the same
partition, which names the offsets of the letters. So whether a letter was put back is known exactly, whatever
was filtered for and wherever a redrive was killed; a group's one offset per partition could not tell that of
letters that were passed over. Marks live as long as their letters: they come later in the same log.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from worker.stream.dead_letters import PREFIX
from worker.types import OutRecord, Record

MARK = f"{PREFIX}mark"
"""Header of a mark."""
_REDRIVEN = b"redriven"

Ranges = list[tuple[int, int]]
"""First and last offset of each run, in order, none overlapping or touching."""


class _Body(msgspec.Struct):
    redriven: Ranges


_DECODE = msgspec.json.Decoder(_Body).decode


def runs(offsets: Iterable[int]) -> Ranges:
    """Offsets in any order as runs."""
    return _merged([(offset, offset) for offset in offsets])


def mark(topic: str, partition: int, offsets: Iterable[int]) -> OutRecord:
    """The record that says that the letters at these offsets of a partition were put back."""
    body = msgspec.json.encode(_Body(runs(offsets)))
    return OutRecord(topic, None, body, [(MARK, _REDRIVEN)], partition)


def is_mark(record: Record) -> bool:
    """Whether a record among the dead letters is a mark."""
    return any(name == MARK for name, _ in record.headers)


class Marks:
    """The marks of a topic, read in any order and asked afterwards."""

    def __init__(self) -> None:
        self._ranges: dict[int, Ranges] = {}
        self._merged = True

    def add(self, record: Record) -> None:
        """Take in a mark; one that cannot be read counts for nothing."""
        try:
            found = _DECODE(record.value or b"").redriven
        except (msgspec.MsgspecError, UnicodeDecodeError):
            return
        self._ranges.setdefault(record.partition, []).extend(found)
        self._merged = False

    def has(self, partition: int, offset: int) -> bool:
        """Whether the letter at this offset was put back."""
        if not self._merged:
            self._ranges = {number: _merged(ranges) for number, ranges in self._ranges.items()}
            self._merged = True
        ranges = self._ranges.get(partition, [])
        place = bisect_right(ranges, offset, key=lambda run: run[0]) - 1
        return place >= 0 and offset <= ranges[place][1]


def _merged(ranges: Ranges) -> Ranges:
    merged: Ranges = []
    for first, last in sorted(ranges):
        if merged and first <= merged[-1][1] + 1:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        else:
            merged.append((first, last))
    return merged
