"""`moodstream demo` as a user runs it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from worker.local import redis as local_redis


@pytest.fixture(autouse=True)
def _needs_a_redis() -> None:
    missing = local_redis.available()
    if missing is not None:
        pytest.skip(missing)


def demo(*arguments: str, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "worker", "demo", *arguments],
        env={**os.environ, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def children(pid: int) -> dict[int, str]:
    """Process ids and command lines of what this process has started."""
    listed = subprocess.run(
        ["ps", "-o", "pid=,args=", "--ppid", str(pid)], capture_output=True, text=True, check=True
    )
    return {int(line.split(None, 1)[0]): line.split(None, 1)[1] for line in listed.stdout.splitlines()}


@pytest.mark.slow
def test_everything_is_answered_and_the_trends_are_exact() -> None:
    # What the user's environment says about a cluster elsewhere must not reach the demo's roles.
    elsewhere = {"MOODSTREAM_REDIS__PASSWORD": "secret", "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": "far:1"}
    out, err = demo("--for", "20", "--rate", "15", "--json", **elsewhere).communicate(timeout=230)

    result = json.loads(out.splitlines()[-1])
    assert list(result) == ["in", "labelled", "dead", "tweets_per_s", "p50_ms", "p99_ms", "trends_exact"]
    assert result["trends_exact"] is True, err
    assert result["labelled"] + result["dead"] == result["in"]
    # A rate that a processor without instructions for 8 bits keeps up with.
    assert result["in"] == pytest.approx(300, abs=12)
    assert result["dead"] >= 4
    assert result["tweets_per_s"] == pytest.approx(14.7, abs=1.5)
    assert 0 < result["p50_ms"] <= result["p99_ms"] < 5000
    assert len(out.splitlines()) == 1
    assert "\x1b" not in err


@pytest.mark.parametrize(
    ("name", "words"),
    [("worker", "-m worker worker"), ("trends", "-m worker trends"), ("Redis", "redis-server")],
)
def test_what_dies_ends_the_demo_and_is_named(name: str, words: str) -> None:
    running = demo()
    assert running.stderr is not None
    while not running.stderr.readline().startswith("trends "):
        assert running.poll() is None
    victim = next(
        pid for pid, line in children(running.pid).items() if words in line and "/bin/sh" not in line
    )
    os.kill(victim, signal.SIGKILL)
    out, err = running.communicate(timeout=60)

    assert running.returncode == 3
    assert f"{name}: ended by itself" in err
    assert "  | " in err  # the end of its log
    assert out == ""


def test_a_model_that_is_not_there_is_said_at_once(tmp_path: Path) -> None:
    running = demo("--for", "1", MOODSTREAM_MODEL__PATH=str(tmp_path / "nothing"))
    _, err = running.communicate(timeout=60)

    assert running.returncode == 3
    assert "there is no such folder" in err


def test_sigterm_ends_it_with_the_summary_and_nothing_is_left_behind() -> None:
    running = demo()
    assert running.stderr is not None
    while not running.stderr.readline().startswith("trends "):
        assert running.poll() is None
    started = children(running.pid)
    running.send_signal(signal.SIGTERM)
    out, err = running.communicate(timeout=60)

    assert running.returncode in {0, 1}, err  # 1 where not even one post was sent
    assert "labelled" in out
    assert len(started) >= 3
    eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in started))
