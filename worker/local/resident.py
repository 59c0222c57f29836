"""The resident memory of a process, looked at all the time."""

from __future__ import annotations

import threading
from pathlib import Path
from types import TracebackType

_MB = 1024 * 1024


def resident_mb(pid: int) -> float:
    """Resident memory now, in MiB (Linux)."""
    for line in Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) / 1024
    raise ProcessLookupError(pid)


class Resident:
    """Looks every so often until it is left."""

    def __init__(self, pid: int, every_s: float = 0.2) -> None:
        self._pid = pid
        self._every_s = every_s
        self._closing = threading.Event()
        self._thread = threading.Thread(target=self._run, name="resident", daemon=True)
        self.now_mb = self.max_mb = resident_mb(pid)

    def __enter__(self) -> Resident:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._closing.wait(self._every_s):
            try:
                self.now_mb = resident_mb(self._pid)
            except (OSError, ProcessLookupError):
                return
            self.max_mb = max(self.max_mb, self.now_mb)
