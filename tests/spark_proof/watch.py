"""Which processes load a model, as they say themselves."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import msgspec

_VARIABLE = "MOODSTREAM_TEST_LOADS"
_STARTED_WITH = """
import logging, os
handler = logging.FileHandler(os.environ["MOODSTREAM_TEST_LOADS"], delay=True)
handler.setFormatter(logging.Formatter("%(process)d"))
opener = logging.getLogger("worker.stream.role")
opener.setLevel(logging.INFO)
opener.addHandler(handler)
"""
"""`sitecustomize` of every Python process: a line with its number for each model that it has loaded."""


class Loads(msgspec.Struct, frozen=True):
    """Models loaded."""

    loads: int
    processes: int

    def good(self, cores: int) -> bool:
        """Whether each process loaded one, and there was one process a core."""
        return self.loads == self.processes == cores


class Watch:
    """Looks at all processes that are started with its environment."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._log = folder / "loads"
        (folder / "sitecustomize.py").write_text(_STARTED_WITH, encoding="utf-8")
        paths = (str(folder), str(Path.cwd()))
        self.environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths), _VARIABLE: str(self._log)}

    @property
    def processes(self) -> list[int]:
        """One number for each load since `taken`."""
        return [int(line) for line in self._log.read_text().split()] if self._log.exists() else []

    def taken(self) -> Loads:
        """The loads since the last time."""
        found = self.processes
        self._log.unlink(missing_ok=True)
        return Loads(len(found), len(set(found)))

    @contextmanager
    def here(self) -> Iterator[None]:
        """Its environment for what this process starts."""
        before = dict(os.environ)
        os.environ.update(self.environment)
        try:
            yield
        finally:
            os.environ.clear()
            os.environ.update(before)
