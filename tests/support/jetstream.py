"""A server that speaks Jetstream's protocol: an event a frame, from a cursor on, with breaks on demand."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from types import TracebackType
from typing import Self
from urllib.parse import parse_qs, urlsplit

import msgspec
from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import Server, ServerConnection, serve


def post(time_us: int, did: str, rkey: str, text: str, langs: Sequence[str] = ("en",)) -> bytes:
    record = {
        "$type": "app.bsky.feed.post",
        "text": text,
        "langs": list(langs),
        "createdAt": "2026-05-04T18:00:00Z",
    }
    commit = {
        "rev": "3l",
        "operation": "create",
        "collection": "app.bsky.feed.post",
        "rkey": rkey,
        "record": record,
    }
    return msgspec.json.encode({"did": did, "time_us": time_us, "kind": "commit", "commit": commit})


def deletion(time_us: int, did: str, rkey: str) -> bytes:
    commit = {"rev": "3l", "operation": "delete", "collection": "app.bsky.feed.post", "rkey": rkey}
    return msgspec.json.encode({"did": did, "time_us": time_us, "kind": "commit", "commit": commit})


def identity(time_us: int, did: str) -> bytes:
    """What comes whatever collections are asked for."""
    return msgspec.json.encode({"did": did, "time_us": time_us, "kind": "identity", "identity": {"did": did}})


class Jetstream:
    """Plays `events`, (time_us, frame), from a little before each client's cursor on, as the real one does.

    It breaks the connection after `every` frames, `breaks` times: in turn in good order and without a word.
    """

    def __init__(
        self,
        events: Sequence[tuple[int, bytes]],
        *,
        every: int = 0,
        breaks: int = 0,
        refuse: int | None = None,
    ) -> None:
        self._events = events
        self._every = every
        self._left = breaks
        self._refuse = refuse
        self._lock = threading.Lock()
        self._closing = threading.Event()
        self.asked: list[dict[str, list[str]]] = []
        """The parameters of each connection."""
        self.frames = 0
        self._server: Server | None = None

    @property
    def url(self) -> str:
        assert self._server is not None
        host, port = self._server.socket.getsockname()[:2]
        return f"ws://{host}:{port}"

    @property
    def broken(self) -> int:
        return len(self.asked) - 1

    def broke(self, times: int) -> bool:
        """Whether at least so many connections were broken."""
        return self.broken >= times

    def __enter__(self) -> Self:
        self._server = serve(self._play, "127.0.0.1", 0, process_request=self._refused, ping_interval=None)
        threading.Thread(target=self._server.serve_forever, name="jetstream", daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        assert self._server is not None
        self._server.shutdown()

    def _refused(self, connection: ServerConnection, _request: Request) -> Response | None:
        return None if self._refuse is None else connection.respond(self._refuse, "no\n")

    def _play(self, connection: ServerConnection) -> None:
        assert connection.request is not None
        asked = parse_qs(urlsplit(connection.request.path).query)
        self.asked.append(asked)
        cursor = int(asked.get("cursor", ["0"])[0])
        try:
            for number, frame in enumerate(f for time_us, f in self._events if time_us >= cursor):
                connection.send(frame, text=True)
                self.frames += 1
                if self._every and number + 1 >= self._every and self._break():
                    if self._left % 2:
                        connection.close(1001)
                    else:
                        connection.socket.close()
                    return
            while not self._closing.wait(0.05):
                connection.ping()
        except (ConnectionClosed, OSError):
            return

    def _break(self) -> bool:
        with self._lock:
            self._left -= 1
            return self._left >= 0
