"""TCP links between processes, each of which can be cut, silenced, delayed and throttled while it is used."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from contextlib import suppress
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

from worker.local.processes import HOST, free_port

_CHUNK = 64 * 1024
_SLOW_CHUNK = 2048
T = TypeVar("T")


class Weather(NamedTuple):
    """What a link does to the bytes that pass."""

    cut: bool = False
    """Connections break, and new ones break at once."""
    silent: bool = False
    """Connections stay, and nothing passes; what was sent meanwhile passes afterwards."""
    delay_s: float = 0.0
    """Added to each chunk, in each direction."""
    bytes_per_s: float | None = None
    """Of each connection, in each direction."""


FAIR = Weather()


class Link:
    """One listening port that leads to another. Belongs to the network's thread."""

    def __init__(self, target_port: int, usual: Weather = FAIR) -> None:
        self.target_port = target_port
        self.port = 0
        self.usual = self.weather = usual
        self._changed = asyncio.Event()
        self._open: set[asyncio.StreamWriter] = set()
        self._server: asyncio.Server | None = None

    async def listen(self) -> None:
        while self._server is None:
            self.port = free_port(10_000, 20_000)
            with suppress(OSError):
                self._server = await asyncio.start_server(self._serve, HOST, self.port)

    def become(self, weather: Weather) -> None:
        self.weather = weather
        self._changed.set()
        self._changed = asyncio.Event()
        if weather.cut:
            for writer in tuple(self._open):
                writer.transport.abort()

    def close(self) -> None:
        self.become(Weather(cut=True))
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            if self.weather.cut:
                writer.transport.abort()
                return
            far_reader, far_writer = await asyncio.open_connection(HOST, self.target_port)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, far_writer}
        self._open |= ends
        try:
            await asyncio.gather(self._pass(reader, far_writer), self._pass(far_reader, writer))
        except asyncio.CancelledError:
            return  # the network ends; asyncio's server would log it as an error
        finally:
            self._open -= ends
            for end in ends:
                end.transport.abort()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(_CHUNK if self.weather.bytes_per_s is None else _SLOW_CHUNK):
                await self._hold_back(len(data))
                writer.write(data)
                await writer.drain()
        # One end is gone: the other must learn it at once, as from a process that was killed.
        writer.transport.abort()

    async def _hold_back(self, size: int) -> None:
        while self.weather.silent:
            await self._changed.wait()
        wait_s = self.weather.delay_s
        if self.weather.bytes_per_s is not None:
            wait_s += size / self.weather.bytes_per_s
        if wait_s:
            await asyncio.sleep(wait_s)


class Network:
    """All links, in a thread of their own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="network", daemon=True)
        self._links: list[Link] = []

    def link(self, target_port: int, usual: Weather = FAIR) -> Link:
        """A new link to a port of this machine; it listens already. A target can still be set later."""

        async def make() -> Link:
            link = Link(target_port, usual)
            await link.listen()
            self._links.append(link)
            return link

        return self._do(make())

    def set(self, link: Link, weather: Weather | None) -> None:
        """Change a link's weather, from any thread; `None` for its usual one."""

        async def change() -> None:
            link.become(link.usual if weather is None else weather)

        self._do(change())

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        async def end() -> None:
            for link in self._links:
                link.close()
            rest = asyncio.all_tasks() - {asyncio.current_task()}
            for task in rest:
                task.cancel()
            await asyncio.gather(*rest, return_exceptions=True)

        self._do(end())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
