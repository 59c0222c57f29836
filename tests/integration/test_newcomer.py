"""The first hour of somebody new: the demo, posts of their own, their trend, a replay, another model.

What is typed are the lines of docs/first-hour.md, all of them, in their order; addresses are read off what
the demo prints. Only what is installed already is not installed again.
"""

from __future__ import annotations

import json
import re
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from importlib.metadata import metadata
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.documented import typed
from tests.support.kafka import read_all
from tests.support.published import publish
from tests.support.waiting import eventually
from worker.demo.posts import samples
from worker.local import kafka as local_kafka
from worker.local import redis as local_redis

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

N = 40
ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "first-hour.md"
POSTS = list(enumerate(samples()[:N]))


class Newcomer:
    """Somebody with two terminals; the demo runs in the first."""

    def __init__(self, folder: Path, page: str) -> None:
        self.folder = folder
        self._lines = [line.words for line in typed(page) if line.in_block and line.words[0] != "."]
        self._said: list[str] = []
        make, demo, arguments = self._lines.pop(0)
        assert (make, demo) == ("make", "demo")
        self._demo = subprocess.Popen(
            [sys.executable, "-m", "worker", demo, *shlex.split(arguments.removeprefix("ARGS=")), "--json"],
            cwd=folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._demo.stderr is not None
        self._said += [""]
        for line in self._demo.stderr:
            self._said.append(line.rstrip("\n"))

    def sees(self, pattern: str) -> str:
        """The first group of a line that the demo prints, once it does."""

        def look() -> str | None:
            found = re.search(pattern, "\n".join(self._said))
            assert self._demo.poll() is None, self._said
            return None if found is None else found[1]

        found = eventually(look, within_s=120)
        assert found is not None
        return found

    def types_next(self, *begins: str, at: str) -> dict[str, Any]:
        """The page's next line, in the other terminal; its JSON, once it has ended with 0.

        Args:
            begins: The words that the line has to begin with.
            at: What stands for HOST:PORT in it.
        """
        words = self._next_line(*begins, at=at)
        done = subprocess.run(
            [sys.executable, "-m", "worker", *words[1:], "--json"],
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, (words, done.stdout, done.stderr)
        found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        return found

    def asks_next(self, *, at: str) -> Callable[[], dict[str, Any]]:
        """What asks for the page's next line, a `curl`, as often as it is called: its JSON."""
        _, url = self._next_line("curl", at=at)
        return lambda: dict(httpx.get(url, timeout=10).raise_for_status().json())

    def _next_line(self, *begins: str, at: str) -> list[str]:
        words = [word.replace("HOST:PORT", at) for word in self._lines.pop(0)]
        assert tuple(words[: len(begins)]) == begins
        return words

    def has_installed(self, extra: str) -> None:
        """The page's next line installs an extra, which the tests' environment has."""
        assert self._lines.pop(0) == ("make", "install", f"EXTRA={extra}")
        assert extra in (metadata("moodstream").get_all("Provides-Extra") or [])

    @property
    def done(self) -> bool:
        """Whether the page has no more lines."""
        return not self._lines

    def interrupts(self) -> tuple[int, dict[str, Any], list[str]]:
        """Ctrl-C in the first terminal: the demo's exit code, its result, and what it said."""
        self._demo.send_signal(signal.SIGINT)
        self._demo.wait(60)
        self._reading.join(10)
        assert self._demo.stdout is not None
        return self._demo.returncode, json.loads(self._demo.stdout.read().splitlines()[-1]), self._said

    def leaves(self) -> None:
        """Whatever still runs ends."""
        if self._demo.poll() is None:
            self._demo.send_signal(signal.SIGINT)
            self._demo.wait(60)
        for pipe in (self._demo.stdout, self._demo.stderr):
            assert pipe is not None
            pipe.close()


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Newcomer]:
    missing = local_kafka.available() or local_redis.available()
    if missing is not None:
        pytest.skip(missing)
    lines = [msgspec.json.encode({"id": f"mine-{n}", "text": one.text, "source": "mine"}) for n, one in POSTS]
    (tmp_path / "own.jsonl").write_bytes(b"\n".join(lines) + b"\n")
    publish(tmp_path / "published", "distilbert")
    (tmp_path / "my-models").mkdir()
    somebody = Newcomer(tmp_path, PAGE.read_text(encoding="utf-8"))
    yield somebody
    somebody.leaves()


def mine(trend: dict[str, Any]) -> int:
    return sum(series["total"] for series in trend["data"]["series"])


def models_of_mine(bootstrap: str) -> Counter[str]:
    """How many of one's own posts each model has labelled."""
    read = read_all(bootstrap, "emotion-labels", within_s=60)
    labels = [json.loads(message.value() or b"{}") for message in read]
    return Counter(label["model"] for label in labels if label.get("source") == "mine")


def test_from_the_demo_to_a_model_of_ones_own(newcomer: Newcomer) -> None:
    page = newcomer.sees(r"page http://([\d.]+:\d+)/#token=")
    kafka = newcomer.sees(r"your posts moodstream send FILE --bootstrap (\S+)")

    assert newcomer.types_next("moodstream", "send", at=kafka)["sent"] == N
    eventually(lambda: models_of_mine(kafka).total() == N, within_s=120)

    trend = newcomer.asks_next(at=page)
    eventually(lambda: mine(trend()) == N, within_s=30)  # trends follow the labels, in batches of their own

    newcomer.has_installed("replay")
    replayed = newcomer.types_next("moodstream", "replay", at=kafka)
    assert replayed["input"]["posts"] >= N
    assert replayed["earlier"]["by_input"] >= N
    [model] = replayed["contestants"]
    assert model["accuracy"]["value"] > 0.95  # 8 bits in other batches: a near tie may fall to the other side

    newcomer.has_installed("train")
    assert newcomer.types_next("moodstream", "model", "import", at=kafka)["model"] == "mine@1"
    newcomer.types_next("moodstream", "model", "promote", at=kafka)
    assert newcomer.types_next("moodstream", "send", at=kafka)["sent"] == N
    eventually(lambda: models_of_mine(kafka)["mine@1"] == N, within_s=120)
    assert newcomer.done

    code, result, said = newcomer.interrupts()
    assert code == 0, said
    assert result["trends_exact"] is True
    assert result["in"] == result["labelled"] + result["dead"]
