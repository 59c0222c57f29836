"""The HTTP server of a role: uvicorn in a thread of its own, beside the loop.

It never takes the process' signals, never writes access lines, and never dies in silence: an address that
cannot be bound fails the start, and a thread that ends by itself is logged, reported to `on_death` and
raised where the server is closed.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import uvicorn
from fastapi import APIRouter, FastAPI

from worker.clock import Clock, SystemClock
from worker.errors import ConfigurationError, MoodstreamError
from worker.metrics import Metrics
from worker.settings import HttpSettings
from worker.web.app import create_app
from worker.web.connection import PatientProtocol
from worker.web.health import Health
from worker.web.limits import MOST_HEADER_BYTES

_CLOSE_S = 3.0
"""How long requests under way may take at the end; clients of health and metrics ask again."""

log = logging.getLogger(__name__)


class ServerDiedError(MoodstreamError):
    """The thread that serves HTTP ended by itself; `__cause__` is why."""


class _Uvicorn(uvicorn.Server):
    """Says when it is ready. Signals are left alone: uvicorn takes them in the main thread only."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.ready = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.ready.set()


class Server:
    """One application on one address; `start` it once, `stop` it once."""

    def __init__(self, app: FastAPI, http: HttpSettings, *, on_death: Callable[[], None]) -> None:
        self._http = http
        self._on_death = on_death
        self._death: BaseException | None = None
        self._port: int | None = None
        self._thread: threading.Thread | None = None
        self._uvicorn = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                log_level="warning",
                access_log=False,
                server_header=False,
                lifespan="off",
                ws="none",
                http=PatientProtocol,
                h11_max_incomplete_event_size=MOST_HEADER_BYTES,
                timeout_graceful_shutdown=int(_CLOSE_S),
            )
        )

    @property
    def port(self) -> int:
        """The port that is really bound, also where the settings say 0."""
        if self._port is None:
            raise RuntimeError("the server was not started")
        return self._port

    @property
    def url(self) -> str:
        """Where it answers, seen from this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self._http.host, self._http.host)  # noqa: S104
        return f"http://[{host}]:{self.port}" if ":" in host else f"http://{host}:{self.port}"

    def start(self) -> None:
        """Bind, serve, and return once requests are answered.

        Raises:
            ConfigurationError: the address cannot be bound.
            ServerDiedError: the server ended before it was ready.
        """
        listening = _bound(self._http)
        self._port = listening.getsockname()[1]
        self._thread = threading.Thread(target=self._serve, args=(listening,), name="http", daemon=True)
        self._thread.start()
        while not self._uvicorn.ready.wait(0.05):
            self.raise_if_dead()
        log.info("http on %s port %d", self._http.host, self._port)

    def stop(self) -> None:
        """Let requests under way end, for a few seconds, and close."""
        self._uvicorn.should_exit = True
        if self._thread is not None:
            self._thread.join(2 * _CLOSE_S)
            if self._thread.is_alive():
                log.warning("http: the server did not end within %.0f s; leaving it", 2 * _CLOSE_S)

    def raise_if_dead(self) -> None:
        """Say so where the server has ended by itself.

        Raises:
            ServerDiedError: it has.
        """
        if self._death is not None:
            raise ServerDiedError("the HTTP server ended by itself; the log says why") from self._death

    def _serve(self, listening: socket.socket) -> None:
        with listening:
            try:
                self._uvicorn.run(sockets=[listening])
                if not self._uvicorn.should_exit:
                    raise RuntimeError("uvicorn returned")
            except BaseException as error:  # SystemExit too: it is how uvicorn gives up
                self._death = error
                log.exception("http: the server died")
                self._on_death()


@contextmanager
def serve(
    http: HttpSettings,
    metrics: Metrics,
    health: Health,
    *,
    on_death: Callable[[], None],
    title: str = "moodstream",
    routers: Sequence[APIRouter] = (),
    clock: Clock | None = None,
) -> Iterator[Server]:
    """Serve health, metrics and `routers` while the block runs.

    `on_death` is called from the server's thread when it ends by itself: ask the role to stop there.

    Raises:
        ConfigurationError: the address cannot be bound.
        ServerDiedError: on leaving, where the server ended by itself; the role then fails visibly.
    """
    app = create_app(metrics, health, clock or SystemClock(), http=http, title=title, routers=routers)
    server = Server(app, http, on_death=on_death)
    server.start()
    try:
        yield server
    finally:
        server.stop()
    server.raise_if_dead()


def _bound(http: HttpSettings) -> socket.socket:
    """A socket that listens, made here because uvicorn would end the process where it cannot."""
    try:
        family = socket.getaddrinfo(http.host, http.port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.create_server((http.host, http.port), family=family, backlog=128)
        # Accepted sockets inherit it. asyncio asks for it too, but not of those made like this one; without
        # an answer's second packet waits 40 ms for the client's delayed acknowledgement of the first.
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    except OSError as error:
        raise ConfigurationError(
            [
                f"http: cannot listen on {http.host} port {http.port}: {error.strerror or error}; "
                "set the role's http.host and http.port to an address that is free"
            ]
        ) from None
    return listening
