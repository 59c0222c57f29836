"""An HTTP server whose answers may never end: chunked, over real sockets, broken off at will."""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, NamedTuple, Self
from urllib.parse import parse_qsl, urlsplit


class Breaks(NamedTuple):
    """When streams break: planned, so that nothing hangs on chance."""

    every: int = 0
    """How much a stream brings before it breaks."""
    unseen: int = 0
    """How much passes before the next stream."""
    times: int = 0
    """How many streams break; the one after them brings the rest."""
    hold: int = 0
    """The stream, counted from 1, that brings as much, but stays open until the server's `release` is set."""


class Exchange(BaseHTTPRequestHandler):
    """One request, and the ways to answer it."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Server

    @property
    def route(self) -> str:
        """The path without the query."""
        return urlsplit(self.path).path

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.path).query))

    def answer(self, status: int, said: object = None, headers: Mapping[str, str] | None = None) -> None:
        """The whole answer: bytes as they are, all else as JSON."""
        body = said if isinstance(said, bytes) else json.dumps(said).encode()
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def begin(self, kind: str) -> None:
        """An answer that goes on."""
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()

    def chunk(self, some: bytes) -> None:
        """More of it."""
        self.wfile.write(b"%x\r\n%s\r\n" % (len(some), some))
        self.wfile.flush()

    def end(self) -> None:
        """In good order."""
        self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def cut(self) -> None:
        """Without a word: what was sent arrives, the end of it is missing."""
        self.close_connection = True

    def body(self) -> Any:
        """What came with the request."""
        return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

    def _serve(self) -> None:
        with suppress(OSError):  # who asked has gone
            self.server.owner.serve(self)

    do_GET = do_POST = _serve  # noqa: N815 - names of http.server

    def log_message(self, *_: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    owner: StreamingServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), OSError):  # who asked has gone
            self.owner.broke = True
            super().handle_error(request, client_address)


class StreamingServer:
    """Answer requests in `serve`; a context manager."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.closing = threading.Event()
        self.connections = 0
        """Streams that were opened."""
        self.broke = False
        """Whether the server itself has failed, which no test expects."""
        self._server = _Server(("127.0.0.1", 0), Exchange)
        self._server.owner = self
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def broken(self, times: int) -> bool:
        """Whether at least so many streams have ended."""
        return self.connections > times

    def serve(self, exchange: Exchange) -> None:
        raise NotImplementedError

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.closing.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        assert error is not None or not self.broke, "the server itself has failed"
