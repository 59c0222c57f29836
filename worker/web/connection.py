"""A connection of a client that may be slow, broken or hostile: how long it may take, and how many there are.

uvicorn closes a connection that idles between two requests. One that never finishes its first request, or
never reads its answer, it would keep for ever.
"""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

MOST_CONNECTIONS = 256
"""Beyond these, who has kept us waiting longest is dropped for who comes: health checks still get through."""
REQUEST_S = 10.0
"""For a request, head and body, from the first moment on that we wait for it."""
ANSWER_S = 30.0
"""For a client to take in the next part of what it was sent."""
_LOOK_S = 1.0
_INVALID = (
    b'{"status":"error","errorType":"bad_request","error":"this is not HTTP, or its headers are too large"}'
)


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with an end to patience."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._since = self.loop.time()
        self._state: tuple[Any, ...] = ()
        if len(self.connections) > MOST_CONNECTIONS:
            ours = [each for each in self.connections if isinstance(each, PatientProtocol)]
            max(ours, key=PatientProtocol.kept_waiting_s).transport.abort()
        self._look()

    @property
    def waits(self) -> bool:
        """Whether it is the client's turn to send."""
        return self.conn.their_state in (h11.IDLE, h11.SEND_BODY)

    def kept_waiting_s(self) -> float:
        """Seconds for which the client has not done its part; 0 while the answer is ours to give."""
        return self.loop.time() - self._since if self.waits or self.flow.write_paused else 0.0

    def send_400_response(self, msg: str) -> None:
        """In the shape of all other errors; not logged, since anybody could fill the log so."""
        del msg
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", str(len(_INVALID)).encode()),
            (b"x-content-type-options", b"nosniff"),
            (b"connection", b"close"),
        ]
        for event in (h11.Response(status_code=400, headers=headers), h11.Data(_INVALID), h11.EndOfMessage()):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _look(self) -> None:
        """Once a second: close where nothing has moved for too long. A new request is a new cycle."""
        if self.transport.is_closing():
            return
        left = self.transport.get_write_buffer_size()
        state = (self.conn.their_state, self.flow.write_paused, id(self.cycle), left)
        if state != self._state:
            self._state, self._since = state, self.loop.time()
        if self.kept_waiting_s() > (REQUEST_S if self.waits else ANSWER_S):
            self.transport.abort()
            return
        self.loop.call_later(_LOOK_S, self._look)
