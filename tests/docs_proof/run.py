"""Line after line of the documents, as somebody would type them."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import msgspec

from tests.docs_proof.exceptions import ROOT, Typed, documented, manner
from tests.docs_proof.stage import Stage
from worker.local.processes import HOST, free_port

_AT_MOST_S = 240.0
_READY_S = 90.0
_STREAMS_S = 5.0
_MIN_POSTS = 1000
"""What `promote --max-disagreement` asks for by default."""


class Failed(msgspec.Struct, frozen=True):
    """A line that did not do what it should."""

    document: str
    line: str
    said: str


class Found(msgspec.Struct, frozen=True):
    """What came of it."""

    ran: int
    not_run: dict[str, str]
    """Lines, and why."""
    failed: list[Failed]

    @property
    def good(self) -> bool:
        return not self.failed


def run(folder: Path, only: str, say: Callable[[str], None]) -> Found:
    """All lines; with `only` those that hold these words, and what has to be so before them."""
    not_run: dict[str, str] = {}
    failed: list[Failed] = []
    ran, document = 0, ""
    with Stage(folder) as stage:
        for typed in documented():
            if typed.document != document:
                stage.begin()
                document = typed.document
            how, more = manner(typed)
            needed = typed.line == "moodstream topics create"
            if how == "not":
                not_run[typed.line] = more
            elif needed or only in typed.line:
                said = _do(stage, typed, how, more)
                ran += 1
                say(f"{'✗' if said else '✓'} {typed.document}: {typed.line}{said and chr(10)}{said}")
                if said:
                    failed.append(Failed(typed.document, typed.line, said))
            if needed:
                stage.fill()
    return Found(ran, not_run, failed)


def _do(stage: Stage, typed: Typed, how: str, role: str) -> str:
    """What went wrong, empty where nothing did."""
    try:
        line = _prepared(stage, typed.line)
    except (AssertionError, subprocess.SubprocessError, httpx.HTTPError) as error:
        more = getattr(error, "stderr", "")
        return f"what has to be so before could not be brought about: {error} {more}"
    if how == "role":
        with stage.without(role):
            return _role(stage, line, role)
    return _ended(stage, line, stays=how == "stream")


def _prepared(stage: Stage, line: str) -> str:
    """The line with the addresses of what runs here, once that is so which it takes for granted."""
    if "query=brand" in line or "DELETE" in line:
        stage.query()
    if "--max-disagreement" in line:
        least = re.search(r"--min-posts (\d+)", line)
        stage.shadowed(int(least[1]) if least else _MIN_POSTS)
    if "label_ref" in line:
        line = stage.correctable(line)
    return stage.here(line)


def _ended(stage: Stage, line: str, *, stays: bool) -> str:
    """Run to its end; a stream has to be there still after some seconds."""
    wait_s = _STREAMS_S if stays else _AT_MOST_S
    with _started(stage, line, {}) as process:
        try:
            said, _ = process.communicate(timeout=wait_s)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            return "" if stays else f"not done after {wait_s:g} s"
    if process.returncode == 0 and not stays:
        return ""
    return f"exit code {process.returncode}: {said[-1500:]}"


def _role(stage: Stage, line: str, role: str) -> str:
    """Run until it is ready, and told to end: which it does with 0."""
    port = free_port()
    variable = f"MOODSTREAM_{role.upper()}__HTTP__PORT"
    with _started(stage, line, {variable: str(port)}) as process:
        deadline = time.monotonic() + _READY_S
        while not _ready(port):
            if process.poll() is not None or time.monotonic() > deadline:
                os.killpg(process.pid, signal.SIGKILL)
                return f"never ready: {process.communicate()[0][-1500:]}"
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGTERM)
        said, _ = process.communicate(timeout=60)
    return "" if process.returncode == 0 else f"exit code {process.returncode}: {said[-1500:]}"


def _started(stage: Stage, line: str, more: dict[str, str]) -> subprocess.Popen[str]:
    # One command takes the shell's place, so that its exit code and signals are its own.
    return subprocess.Popen(
        ["bash", "-o", "pipefail", "-c", line],
        cwd=ROOT if line.startswith("make ") else stage.folder,
        env={**os.environ, **stage.environment, **more},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        stdin=subprocess.DEVNULL,
        text=True,
        start_new_session=True,
    )


def _ready(port: int) -> bool:
    try:
        return httpx.get(f"http://{HOST}:{port}/readyz", timeout=2).is_success
    except httpx.TransportError:
        return False
