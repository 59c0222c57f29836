"""`moodstream bench replay`: a replay's speed beside the classifier's alone, in one run.

Two answerers, the model with and without its gate, because a replay compares. What counts are answers a
second over all of its time: reading from a real Kafka, both models, the parts on the disk. The classifier is
measured before and after it, as `moodstream bench cpu` does, because speeds on a shared machine drift.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from worker.bench import cpu
from worker.bench.stream import kafka, preload
from worker.errors import DependencyError

_ALONE = "moodstream, 1024 at once"
_MODELS = 2


def run(
    model: Path, texts: Sequence[str], *, bootstrap: str | None, records: int, seconds: float
) -> dict[str, float]:
    """Posts a second of the classifier alone, and answers a second of a replay.

    Args:
        model: Folder of the artefact.
        texts: Posts.
        bootstrap: A Kafka; one is started where none is given.
        records: Posts in the topic.
        seconds: To measure the classifier for, each time.

    Raises:
        DependencyError: the replay or the classifier failed; says why.
    """
    with kafka(bootstrap) as servers, tempfile.TemporaryDirectory(prefix="moodstream-bench-") as scratch:
        topic = f"bench-{time.time_ns()}"
        preload(servers, topic, texts, records)
        before = _alone(model, texts, seconds)
        replayed = _replay(servers, topic, model, Path(scratch) / "report")
        after = _alone(model, texts, seconds)
    return {"bench cpu: moodstream": (before + after) / 2, "moodstream replay": replayed}


def _alone(model: Path, texts: Sequence[str], seconds: float) -> float:
    return cpu.run(model, texts, seconds=seconds, only=[_ALONE])[_ALONE].posts_per_s


def _replay(bootstrap: str, topic: str, model: Path, report: Path) -> float:
    given = ["--topic", topic, "--bootstrap", bootstrap, "--report", str(report), "--json"]
    models = ["--model", str(model), "--model", f"{model},gate=off"]
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-m", "worker", "replay", *given, *models],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise DependencyError("moodstream replay", f"failed: {done.stderr.strip()[-500:]}")
    found = json.loads(done.stdout.splitlines()[-1])
    return float(_MODELS * found["input"]["posts"] / found["speed"]["seconds"])
