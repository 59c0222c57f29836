"""`moodstream bench shadow`: what a shadow on every post costs live ones, and whether its figures are right.

Posts are sent by a schedule (see `latency`) at a share of the worker's capacity, first without a shadow, then
with one. The shadow is the same model under an older text version, so that it differs on some posts. What the
workers say that it answered is held against both models, asked about the same texts one after the other.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np

from worker.bench.latency import Load, answered, waits
from worker.bench.stream import System, kafka, preload, slope, started
from worker.bench.swap import control_topic, operating
from worker.clock import SystemClock
from worker.control.follow import Watched, together, watched
from worker.control.messages import SHADOW, Compared, Shadowing
from worker.control.topic import ControlWriter
from worker.errors import DependencyError
from worker.model import classifier
from worker.model.artifact import load, write_manifest
from worker.settings import Settings

_PATIENCE_S = 120.0
_LOOK_S = 0.5
_AT_ONCE = 512
_OTHER_TEXT_VERSION = 0
_SHADOW = "bench@shadow"


class Found(msgspec.Struct, frozen=True):
    """What a run gave."""

    slo_ms: float | None
    capacity: float
    """Posts per second with a backlog, without a shadow."""
    posts_per_s: float
    posts: int
    """Sent with the shadow, after those without."""
    lost: int
    p99_alone_ms: float
    p99_shadowed_ms: float
    compared: int
    """Posts that the shadow was asked about."""
    skipped: int
    """Because live posts were waiting."""
    differed: int
    """Posts that it labelled otherwise, as the worker says."""
    differed_offline: int
    """The same of all posts sent, as both models say when they are asked alone."""


def run(
    settings: Settings,
    model: Path,
    texts: Sequence[str],
    *,
    share: float,
    seconds: float,
    bootstrap: str | None,
    capacity_posts: int,
) -> Found:
    """Measure one worker's capacity with a backlog, then what posts wait without and with a shadow.

    Raises:
        DependencyError: the worker or Kafka failed, or the shadow did not come to an end.
    """
    with (
        kafka(bootstrap, enduring=False) as servers,
        tempfile.TemporaryDirectory(prefix="moodstream-bench-") as folder,
    ):
        store, run_id = Path(folder) / "store", f"bench-{time.time_ns()}"
        other = _other(model, store)
        control = control_topic(servers, f"{run_id}-control")
        environment = {"MOODSTREAM_TOPICS__CONTROL": control, "MOODSTREAM_MODEL__STORE": str(store)}
        if settings.batch.slo_ms is not None:
            environment["MOODSTREAM_BATCH__SLO_MS"] = str(settings.batch.slo_ms)
        topic = f"{run_id}-posts"
        preload(servers, topic, texts, capacity_posts)
        system = System("moodstream", ["-m", "worker", "worker"], environment, capacity_posts)
        with started(system, servers, topic, Path(folder)) as at:
            capacity = slope(at.committed, capacity_posts, at_most_s=20.0)
            at.await_committed(capacity_posts, _PATIENCE_S)
            sent = Load(texts, share * capacity, seconds)
            alone = waits(share, *answered(at, sent, servers, topic))
            with watched(operating(settings, servers, control, at.group), wait_s=_PATIENCE_S) as board:
                _begin(operating(settings, servers, control, at.group), board)
                due, arrived = answered(at, sent, servers, topic)
                compared = _finished(board, len(due))
        shadowed = waits(share, due, arrived)
        offline = _differ(model, other, [texts[index % len(texts)] for index in range(len(due))])
    return Found(
        slo_ms=settings.batch.slo_ms,
        capacity=round(capacity, 1),
        posts_per_s=shadowed.posts_per_s,
        posts=len(due),
        lost=alone.lost + shadowed.lost,
        p99_alone_ms=alone.p99_ms,
        p99_shadowed_ms=shadowed.p99_ms,
        compared=compared.n,
        skipped=compared.skipped,
        differed=compared.n - compared.agreed,
        differed_offline=offline,
    )


def _other(model: Path, store: Path) -> Path:
    """The model without what is done to texts before it reads them."""
    folder = store / "shadow"
    shutil.copytree(model, folder)
    manifest = load(folder).manifest
    name, version = _SHADOW.split("@")
    write_manifest(
        folder,
        msgspec.structs.replace(manifest, name=name, version=version, text_version=_OTHER_TEXT_VERSION),
    )
    return folder


def _begin(settings: Settings, board: Watched) -> None:
    """Ask for the shadow on every post, and wait until the worker has it."""
    now = datetime.fromtimestamp(SystemClock().time(), UTC)
    writer = ControlWriter(settings.kafka, settings.topics.control)
    writer.write(SHADOW, Shadowing(model=_SHADOW, share=1.0, at=now), within_s=_PATIENCE_S)
    _await(board, 0)


def _finished(board: Watched, posts: int) -> Compared:
    """What the shadow has answered once it has been asked about, or has skipped, so many posts."""
    return _await(board, posts)


def _await(board: Watched, posts: int) -> Compared:
    deadline = time.monotonic() + _PATIENCE_S
    while time.monotonic() < deadline:
        found = together(board.reports, _SHADOW)
        if found is not None and found.n + found.skipped >= posts:
            return found
        time.sleep(_LOOK_S)
    raise DependencyError("the worker", f"did not say what its shadow made of {posts} posts")


def _differ(model: Path, other: Path, texts: Sequence[str]) -> int:
    """On how many texts two models give other labels, each asked alone."""
    labels = []
    for folder in (model, other):
        asked = classifier.load(load(folder))
        labels.append(
            np.concatenate(
                [
                    asked.classify(asked.prepare(texts[first : first + _AT_ONCE])).label
                    for first in range(0, len(texts), _AT_ONCE)
                ]
            )
        )
        asked.close()
    return int((labels[0] != labels[1]).sum())
