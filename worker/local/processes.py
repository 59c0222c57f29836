"""One child process: started, awaited, stopped, killed and started again, and never left behind.

A child dies with its parent however the parent ends, SIGKILL included. A guard, a shell that waits on a
pipe whose other end only the parent holds, kills the child's process group when the pipe closes. (Linux's
PR_SET_PDEATHSIG would do without the guard, but it fires when the starting *thread* ends, and
needs code between fork and exec, which is unsafe in a process with threads.)
"""

from __future__ import annotations

import fcntl
import os
import secrets
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from worker.errors import DependencyError

HOST = "127.0.0.1"

_GUARD = 'read -r _; kill -s KILL -- "-$0"'
_TAIL_LINES = 15
_CLAIMS: dict[int, int] = {}
"""The ports that `free_port` gave away, and the locked files that keep them."""


class ChildProcess:
    """A server in a process group of its own, writing to a log file."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        log: Path,
        cwd: Path | None = None,
        env: Mapping[str, str] | None = None,
    ) -> None:
        self.name = name
        self.command = tuple(command)
        self.log = log
        self._cwd = cwd
        self._env = None if env is None else {**os.environ, **env}
        self._child: subprocess.Popen[bytes] | None = None
        self._guard: subprocess.Popen[bytes] | None = None
        self._log_start = 0

    @property
    def pid(self) -> int | None:
        """Process id while it runs."""
        return self._child.pid if self._child is not None and self.alive else None

    @property
    def alive(self) -> bool:
        """Whether it runs now."""
        return self._child is not None and self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        """How it ended; negative for a signal, None while it runs or before its first start."""
        return None if self._child is None else self._child.poll()

    def start(self, ready: Callable[[], bool], *, within_s: float = 30.0) -> None:
        """Start it and wait until `ready()` answers true.

        Raises:
            DependencyError: it ended or was not ready in time; the message holds the end of its log.
        """
        if self.alive:
            raise RuntimeError(f"{self.name} is already running")
        self._dismiss_guard()  # of a child that ended on its own
        self._launch()
        deadline = time.monotonic() + within_s
        while not ready():
            if not self.alive:
                self._fail("ended before it was ready")
            if time.monotonic() > deadline:
                self._fail(f"was not ready within {within_s:g} s")
            time.sleep(0.02)

    def stop(self, *, within_s: float = 10.0) -> None:
        """SIGTERM, and `kill` where it still runs after `within_s`. Nothing to do where it has ended."""
        if self._child is not None and self.alive:
            self._child.terminate()
            with suppress(subprocess.TimeoutExpired):
                self._child.wait(within_s)
        self.kill()

    def kill(self) -> None:
        """SIGKILL to it and all that it started: no goodbye, as when the machine fails."""
        if self._child is not None and self.alive:
            os.killpg(self._child.pid, signal.SIGKILL)
            self._child.wait()
        self._dismiss_guard()

    def output(self) -> str:
        """All that it has written since its last start."""
        with self.log.open("rb") as log:
            log.seek(self._log_start)
            return log.read().decode(errors="replace")

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            self._log_start = log.tell()
            try:
                self._child = subprocess.Popen(
                    self.command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    cwd=self._cwd,
                    env=self._env,
                    start_new_session=True,  # Ctrl-C is the parent's; it decides what ends when
                )
            except OSError as error:
                raise DependencyError(self.name, f"cannot run {self.command[0]}: {error.strerror}") from None
        self._guard = subprocess.Popen(
            ["/bin/sh", "-c", _GUARD, str(self._child.pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def _dismiss_guard(self) -> None:
        """Before its pipe closes, so that it cannot hit a stranger who got the child's id."""
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def _fail(self, reason: str) -> None:
        lines = self.output().strip().splitlines()[-_TAIL_LINES:]
        self.kill()
        shown = "\n".join(f"  | {line}" for line in lines) or "  | (it wrote nothing)"
        raise DependencyError(self.name, f"{reason}; the end of its log {self.log}:\n{shown}")


def free_port(low: int = 20_000, high: int = 32_000) -> int:
    """A port of 127.0.0.1 that nothing uses, and that is this process's until it ends.

    From below the range that systems draw outgoing connections' ports from (32768 up on Linux): a client
    retrying against a killed server on a port in that range ends up connected to itself one day, and
    the server then cannot have its port back. A server binds its port seconds after it was drawn, or again
    after it was killed, so each is claimed by a file lock: nobody else who draws here gets it in between.
    The draw is the system's, since training seeds `random`, and then every process would draw the same.

    Raises:
        DependencyError: there is none.
    """
    for _ in range(200):
        port = low + secrets.randbelow(high - low)
        if _claim(port):
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do
                with suppress(OSError):
                    probe.bind((HOST, port))
                    return port
    raise DependencyError("port", f"found no free port on {HOST} between {low} and {high}")


def _claim(port: int) -> bool:
    """Whether nobody of this user's had it; the system gives it back when this process ends."""
    if port in _CLAIMS:
        return False
    folder = Path(tempfile.gettempdir(), f"moodstream-ports-{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    claim = os.open(folder / str(port), os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(claim, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(claim)
        return False
    _CLAIMS[port] = claim
    return True


def listening(port: int) -> bool:
    """Whether something accepts connections on this port of 127.0.0.1."""
    with socket.socket() as probe:
        probe.settimeout(1.0)
        return probe.connect_ex((HOST, port)) == 0
