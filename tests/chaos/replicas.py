"""What lies in the brokers' own files: batches of a partition that do not go on where the one before ended.

A log whose offsets come twice is Kafka's fault and no reader's: whoever reads it from that broker sees
records twice, and whoever reads another replica does not. A broker whose disk runs full can make one: it
writes a batch into the log, fails where it writes the index (a page of a sparse file that is mapped:
`InternalError: a fault occurred in a recent unsafe memory access operation`), answers with an error, and
writes the next batch behind it, with the same offsets.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_HEADER = struct.Struct(">qiibIhi")
"""Base offset, length of what follows, leader epoch, magic, CRC, attributes, last offset delta (v2)."""
_BEFORE = 12
"""Bytes of base offset and length, which the length does not count."""


class Batch(NamedTuple):
    """One batch of a log file."""

    at: int
    """Byte where it begins."""
    first: int
    """Its first offset."""
    last: int


def batches(path: Path) -> Iterator[Batch]:
    """The batches of a log file; what was cut off in the middle of one is left out."""
    size = path.stat().st_size
    with path.open("rb") as file:
        at = 0
        while at + _HEADER.size <= size:
            file.seek(at)
            first, length, _, _, _, _, delta = _HEADER.unpack(file.read(_HEADER.size))
            if length <= 0 or at + _BEFORE + length > size:
                return
            yield Batch(at, first, first + delta)
            at += _BEFORE + length


def overlapping(data: Path) -> list[str]:
    """Every batch below a broker's log directory that begins before the one before it has ended."""
    found = []
    for partition in sorted({path.parent for path in data.glob("*/*.log")}):
        last = -1
        for path in sorted(partition.glob("*.log")):
            for batch in batches(path):
                if batch.first <= last:
                    found.append(
                        f"{partition.name}/{path.name} at byte {batch.at}: "
                        f"offsets {batch.first} to {batch.last} behind {last}"
                    )
                last = max(last, batch.last)
    return found
