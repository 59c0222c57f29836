"""Server-sent events out of lines. Pure.

https://html.spec.whatwg.org/multipage/server-sent-events.html
"""

from __future__ import annotations

from typing import NamedTuple

_MOST_BYTES = 512 * 1024


class Event(NamedTuple):
    """One event."""

    name: str
    """`message` where the server gives none."""
    data: bytes


class Events:
    """Takes lines, gives events. Comments, such as heartbeats, ids and times are passed over.

    Of data of more than 512 KiB the rest is: it is no JSON then, and somebody will see it.
    """

    def __init__(self) -> None:
        self._name = ""
        self._data: list[bytes] = []
        self._bytes = 0

    def __call__(self, line: bytes) -> Event | None:
        """The event that this line ends, if it does."""
        if not line:
            name, data = self._name or "message", self._data
            self._name, self._data, self._bytes = "", [], 0
            return Event(name, b"\n".join(data)) if data else None
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        if field == b"event":
            self._name = value.decode(errors="replace")
        elif field == b"data" and self._bytes + len(value) <= _MOST_BYTES:
            self._data.append(value)
            self._bytes += len(value) + 1
        return None
