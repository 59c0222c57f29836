"""Lines of the documents that are not simply run, by how they begin. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from tests.support.documented import in_blocks, programs

ROOT = Path(__file__).parents[2]
FIRST = ("README.md",)
"""Read first; then all others by their names."""
TOP = ("RELIABILITY.md", "CONTRIBUTING.md", "SECURITY.md")
PROGRAMS = {"moodstream", "make", "curl", "docker", "helm", "pip"}
_OURS = "installs into the environment that this runs in; a fresh clone does it"
_HOURS = "takes hours; tests/training runs every option on small networks"
_SERVER = "asks a server elsewhere; tests/integration/test_source*.py has one that speaks its protocol"
_HERE = "make test runs it"

NOT_RUN = {
    "make demo": "ends with Ctrl-C; tests/integration/test_demo.py and test_newcomer.py run it",
    "make test": "is what runs these tests",
    "make install": _OURS,
    "pip install": _OURS,
    "make lint": "looks at the sources, not at the product; every change is checked by it",
    "make docs": "tests/unit/test_docs_site.py builds the site",
    "make chaos MINUTES=": "a proof of its own, of many minutes",
    'make chaos SEED=7 ARGS="--json': "a proof of its own, of many minutes",
    "make image-proof": "a proof of its own, of many minutes",
    "docker ": "needs a Docker daemon; make image-proof builds the image and runs it without one",
    "helm ": "needs a cluster; tests/helm renders and checks what would be installed",
    "moodstream train": _HOURS,
    "moodstream classify --engine spark": "needs Spark, 0.5 GB; make spark-proof installs and runs it",
    "moodstream model import OWNER/NAME": "asks the hub; tests/integration/test_newcomer.py imports a folder",
    "moodstream source bluesky": _SERVER,
    "moodstream source mastodon": _SERVER,
    "moodstream source x": _SERVER,
    "moodstream send own.jsonl --bootstrap HOST:PORT": "tests/integration/test_newcomer.py types it",
    "moodstream send own.jsonl --again": "tests/integration/test_newcomer.py types it",
    "curl 'http://HOST:PORT": "tests/integration/test_newcomer.py types it",
    "moodstream replay --topic tweets --from -1h --against emotion-labels --report replayed": (
        "tests/integration/test_newcomer.py types it"
    ),
    "moodstream model import published": "tests/integration/test_newcomer.py types it",
    "moodstream model promote mine@1": "tests/integration/test_newcomer.py types it",
}
"""Why."""
ROLES = {
    "moodstream worker": "worker",
    "moodstream trends": "trends",
    "moodstream quality": "quality",
    "moodstream source webhook": "source",
}
"""Run until they are ready, and then told to end."""
STREAMS = ("curl -N",)
"""Go on for ever: they must still run after some seconds."""

Manner = Literal["run", "role", "stream", "not"]


class Typed(NamedTuple):
    """A line of a document."""

    document: str
    line: str
    """Without what stands behind a #."""

    @property
    def command(self) -> str:
        """The line from the program on."""
        words = self.line.split()
        while "=" in words[0] and words[0].split("=")[0].isupper():
            words = words[1:]
        return " ".join(words)


def manner(typed: Typed) -> tuple[Manner, str]:
    """What is done with a line, and why it is not run, or which role it is."""
    command = typed.command
    for begin, reason in NOT_RUN.items():
        if f"{command} ".startswith(begin):
            return "not", reason
    for begin, role in ROLES.items():
        if command == begin or command.startswith(f"{begin} -"):
            return "role", role
    return ("stream" if command.startswith(STREAMS) else "run"), ""


def documented() -> list[Typed]:
    """All lines with a program that we have to do with, each once, in the order of the documents."""
    others = sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/*.md"))
    found: dict[str, Typed] = {}
    for document in (*FIRST, *TOP, *others):
        for one in _lines(document, (ROOT / document).read_text(encoding="utf-8")):
            found.setdefault(one.line, one)
    return list(found.values())


def _lines(document: str, markdown: str) -> Iterator[Typed]:
    for line in in_blocks(markdown):
        if PROGRAMS & set(programs(line)):
            yield Typed(document, re.sub(r"\s# .*", "", line).strip())
