"""The real roles as processes of their own, to be watched, stopped and killed."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx

from worker.local.processes import ChildProcess, free_port


class RoleProcess:
    """`moodstream worker` or `moodstream trends` with settings of the test's own."""

    def __init__(
        self,
        role: str,
        log: Path,
        environment: dict[str, str],
        *,
        module: str = "worker",
        arguments: Sequence[str] = (),
        release: Path | None = None,
    ) -> None:
        """`release`: a folder that holds another release of the package, to run instead of this one."""
        self.role = role
        self.port = free_port()
        section = role.upper()
        self._child = ChildProcess(
            role,
            [sys.executable, "-m", module, role, *arguments],
            log=log,
            cwd=release,
            env={**environment, f"MOODSTREAM_{section}__HTTP__PORT": str(self.port)},
        )

    def start(self) -> None:
        """Start it and wait until it answers over HTTP; ready is another question."""
        self._child.start(self.live, within_s=60)

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        """Ask it over HTTP."""
        return httpx.get(f"http://127.0.0.1:{self.port}{path}", params=parameters or None, timeout=5)

    def live(self) -> bool:
        """Whether /livez says so."""
        return self._says_yes("/livez")

    def ready(self) -> bool:
        """Whether /readyz says so."""
        return self._says_yes("/readyz")

    def metric(self, name: str, **labels: str) -> float:
        """The sum of a metric's series that have these labels."""
        total = 0.0
        for line in self.get("/metrics").text.splitlines():
            series, _, value = line.rpartition(" ")
            if series.split("{")[0] == name and all(f'{k}="{v}"' in series for k, v in labels.items()):
                total += float(value)
        return total

    @property
    def alive(self) -> bool:
        """Whether the process runs."""
        return self._child.alive

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid

    @property
    def exit_code(self) -> int | None:
        """How it ended; negative for a signal, None while it runs or before its first start."""
        return self._child.exit_code

    @property
    def log(self) -> str:
        """What it wrote since its last start."""
        return self._child.output()

    def kill(self) -> None:
        """SIGKILL."""
        self._child.kill()

    def stop(self, within_s: float = 30.0) -> int | None:
        """SIGTERM; the exit code."""
        self._child.stop(within_s=within_s)
        return self.exit_code

    def _says_yes(self, path: str) -> bool:
        try:
            return self.get(path).status_code == httpx.codes.OK
        except httpx.TransportError:
            return False
