"""Confluent's wire format: a zero byte, the schema's id in four bytes, the message. Pure.

In Protobuf the message's place in its file follows the id: a count and so many indexes, zigzag varints; a
count of zero stands for the first message.
"""

from __future__ import annotations

from worker.errors import BadRecordError

MAGIC = 0
HEADER = 5
"""Bytes before the message."""
_MOST_INDEXES = 32
"""Messages within messages; nobody nests so deeply."""
_MOST_SHIFT = 63


def schema_id(value: bytes) -> int:
    """The id of the schema that a value was written with.

    Raises:
        BadRecordError: `not_framed`.
    """
    if len(value) < HEADER or value[0] != MAGIC:
        raise _unframed(value)
    return int.from_bytes(value[1:HEADER])


def header(schema: int) -> bytes:
    """What goes before a message of the schema with this id."""
    return bytes([MAGIC]) + schema.to_bytes(4)


def message_path(value: bytes) -> tuple[tuple[int, ...], int]:
    """Which message of its file a framed Protobuf value is, outermost first, and where its bytes begin.

    Raises:
        BadRecordError: `invalid_protobuf`.
    """
    n, at = _varint(value, HEADER)
    if n == 0:
        return (0,), at
    if not 0 < n <= _MOST_INDEXES:
        raise _no_path()
    path = []
    for _ in range(n):
        index, at = _varint(value, at)
        if index < 0:
            raise _no_path()
        path.append(index)
    return tuple(path), at


def _varint(value: bytes, at: int) -> tuple[int, int]:
    raw = shift = 0
    while at < len(value) and shift <= _MOST_SHIFT:
        byte = value[at]
        raw |= (byte & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if byte < 0x80:
            return (raw >> 1) ^ -(raw & 1), at
    raise _no_path()


def _no_path() -> BadRecordError:
    return BadRecordError("invalid_protobuf", "what follows the schema id names no message of its file")


def _unframed(value: bytes) -> BadRecordError:
    if len(value) < HEADER:
        return BadRecordError("not_framed", f"{len(value)} bytes: too short for a schema id")
    return BadRecordError(
        "not_framed",
        f"begins with byte {value[0]}, not with {MAGIC} and a schema id: another serializer wrote it",
    )
