"""The real command, run to its end in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import NamedTuple


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    stdout: str
    stderr: str

    @property
    def output(self) -> str:
        return self.stdout + self.stderr

    @property
    def last_line(self) -> str:
        """What a person sees last."""
        lines = self.stderr.strip().splitlines()
        return lines[-1] if lines else ""


def moodstream(
    arguments: Sequence[str], environment: Mapping[str, str], *, within_s: float = 150, stdin: str = ""
) -> Ended:
    """Run `moodstream ARGUMENTS`; none of this process' own settings reach it."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("MOODSTREAM_")}
    done = subprocess.run(
        [sys.executable, "-m", "worker", *arguments],
        env=inherited | dict(environment),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=within_s,
        check=False,
    )
    return Ended(done.returncode, done.stdout, done.stderr)
