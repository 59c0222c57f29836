"""The records in a broker's own log files, with what no client tells: whose they are, and how that ended.

The format is that of record batches with magic 2 (Kafka's documentation, "Implementation: Record Batch").
Compressed batches are left out: the product compresses none by default.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

_HEAD = struct.Struct(">qiibIhiqqqhii")
"""Base offset, length of what follows these twelve bytes, leader epoch, magic, CRC, attributes, last offset
delta, first and last timestamp, producer id and epoch, base sequence, number of records."""
_BEFORE = 12
_COMPRESSED, _TRANSACTIONAL, _CONTROL = 0x07, 0x10, 0x20
_MARKERS: dict[int, Marker] = {0: "abort", 1: "commit"}

Marker = Literal["abort", "commit"]


class Entry(NamedTuple):
    """One record."""

    partition: str
    """`TOPIC-NUMBER`, as its folder is called."""
    offset: int
    timestamp_ms: int
    producer: int
    epoch: int
    transactional: bool
    marker: Marker | None
    """What ends a transaction, in place of a record."""
    key: bytes | None
    value: bytes | None


def entries(partition: Path) -> Iterator[Entry]:
    """The records of a partition's folder, in order."""
    for path in sorted(partition.glob("*.log")):
        yield from _of_file(path)


def _of_file(path: Path) -> Iterator[Entry]:
    data, at = path.read_bytes(), 0
    while at + _HEAD.size <= len(data):
        base, length, _, _, _, attributes, _, first_ms, _, producer, epoch, _, n = _HEAD.unpack_from(data, at)
        end = at + _BEFORE + length
        if length <= 0 or end > len(data):  # preallocated, or cut off
            return
        if not attributes & _COMPRESSED:
            place = at + _HEAD.size
            for _ in range(n):
                size, place = _number(data, place)
                delta_ms, delta, key, value = _record(data, place + 1)  # behind the record's attributes
                control = bool(attributes & _CONTROL)
                yield Entry(
                    path.parent.name,
                    base + delta,
                    first_ms + delta_ms,
                    producer,
                    epoch,
                    bool(attributes & _TRANSACTIONAL),
                    _MARKERS.get(struct.unpack_from(">hh", key)[1]) if control and key else None,
                    key,
                    value,
                )
                place += size
        at = end


def _record(data: bytes, at: int) -> tuple[int, int, bytes | None, bytes | None]:
    """Timestamp and offset, from those of its batch, key and value."""
    delta_ms, at = _number(data, at)
    delta, at = _number(data, at)
    key, at = _bytes(data, at)
    value, _ = _bytes(data, at)
    return delta_ms, delta, key, value


def _bytes(data: bytes, at: int) -> tuple[bytes | None, int]:
    length, at = _number(data, at)
    return (None, at) if length < 0 else (data[at : at + length], at + length)


def _number(data: bytes, at: int) -> tuple[int, int]:
    """A zigzag varint, and where the next thing is."""
    shift = raw = 0
    while True:
        byte = data[at]
        raw |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
