"""What every local server shares: a temporary folder, a port that stays, and a life of starts and ends."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

from worker.local.processes import ChildProcess, free_port, listening


class Startable(ABC):
    """What is started at the beginning of a `with` and closed at its end, or where its start fails."""

    @abstractmethod
    def start(self) -> None:
        """Start, and return once it is ready."""

    @abstractmethod
    def close(self) -> None:
        """End at once, and leave nothing behind."""

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class LocalServer(Startable):
    """A real server for the demo, the benchmarks and the tests. Its port and its data outlive restarts.

    `with Server() as server:` starts it; at the end it is killed and its folder removed. In between it can
    be stopped (as an operator does), killed (as a failing machine does) and started again.
    """

    name: ClassVar[str]
    ready_within_s: ClassVar[float] = 30.0

    def __init__(self) -> None:
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix=f"moodstream-{self.name}-"))
        self._remove_folder = weakref.finalize(self, shutil.rmtree, self.folder, ignore_errors=True)
        self._process: ChildProcess | None = None

    @abstractmethod
    def _prepare(self) -> Sequence[str]:
        """Write what the server needs into `folder`; answer its command line. Called at every start."""

    def _ready(self, process: ChildProcess) -> bool:
        return listening(self.port)

    @property
    def log(self) -> Path:
        """Where its standard output and error go."""
        return self.folder / f"{self.name}.log"

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self._process is not None and self._process.alive

    @property
    def pid(self) -> int | None:
        """Its process id while it runs."""
        return None if self._process is None else self._process.pid

    def start(self) -> None:
        """Start it and wait until it is ready.

        Raises:
            DependencyError: something it needs is missing, or it did not come up; the message says which.
        """
        command = self._prepare()
        self._process = process = ChildProcess(self.name, command, log=self.log, cwd=self.folder)
        process.start(lambda: self._ready(process), within_s=self.ready_within_s)

    def stop(self) -> None:
        """Let it end in good order."""
        if self._process is not None:
            self._process.stop()

    def kill(self) -> None:
        """SIGKILL: no goodbye, nothing flushed."""
        if self._process is not None:
            self._process.kill()

    def restart(self) -> None:
        """Stop it in good order where it still runs, and start it on the same port and data."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Kill it and remove its folder."""
        self.kill()
        self._remove_folder()
