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
from functools import partial
from pathlib import Path

import msgspec
import numpy as np

from worker.bench.latency import Load, answered, waits
from worker.bench.operated import PATIENCE_S, Operated, operated
from worker.clock import SystemClock
from worker.control.follow import Watched, together, watched
from worker.control.messages import SHADOW, Compared, Shadowing
from worker.control.topic import ControlWriter
from worker.errors import DependencyError
from worker.model import classifier
from worker.model.artifact import load, write_manifest
from worker.settings import Settings

_BETWEEN_REPORTS_S = 12.0
"""Workers tell of their shadows every ten seconds."""
_FEW = 50.0
"""Posts a second, until the shadow is there."""
_AT_ONCE = 512
_OTHER_TEXT_VERSION = 0
_SHADOW = "bench@shadow"


class Found(msgspec.Struct, frozen=True):
    """What a run gave."""

    slo_ms: float | None
    capacity: float
    """Posts per second while more are sent than the worker can label, without a shadow."""
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
    """The same of all posts sent, as both models say when asked alone. A model in 8 bits answers a little
    differently in another batch, so that a few more or less are no fault."""


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
    """Measure one worker's capacity, then what posts wait without and with a shadow.

    Raises:
        DependencyError: the worker or Kafka failed, or the shadow did not come to an end.
    """
    with tempfile.TemporaryDirectory(prefix="moodstream-bench-shadow-") as folder:
        other = _other(model, Path(folder) / "shadow")
        stocked = partial(shutil.copytree, folder)
        with operated(settings, stocked, texts, bootstrap=bootstrap, capacity_posts=capacity_posts) as one:
            sent = Load(texts, share * one.capacity, seconds)
            alone = waits(share, *answered(one.at, sent, one.servers, one.topic))
            with watched(one.settings, wait_s=PATIENCE_S) as board:
                before = _begun(one, board, texts)
                due, arrived = answered(one.at, sent, one.servers, one.topic)
                after = _settled(board, before.n + before.skipped + len(due))
        shadowed = waits(share, due, arrived)
        offline = _differ(model, other, [texts[index % len(texts)] for index in range(len(due))])
    return Found(
        slo_ms=settings.batch.slo_ms,
        capacity=round(one.capacity, 1),
        posts_per_s=shadowed.posts_per_s,
        posts=len(due),
        lost=alone.lost + shadowed.lost,
        p99_alone_ms=alone.p99_ms,
        p99_shadowed_ms=shadowed.p99_ms,
        compared=after.n - before.n,
        skipped=after.skipped - before.skipped,
        differed=(after.n - after.agreed) - (before.n - before.agreed),
        differed_offline=offline,
    )


def _other(model: Path, folder: Path) -> Path:
    """The model without what is done to texts before it reads them."""
    shutil.copytree(model, folder)
    name, version = _SHADOW.split("@")
    changed = {"name": name, "version": version, "text_version": _OTHER_TEXT_VERSION}
    write_manifest(folder, msgspec.structs.replace(load(folder).manifest, **changed))
    return folder


def _begun(one: Operated, board: Watched, texts: Sequence[str]) -> Compared:
    """Ask for the shadow on every post; what it has answered of a few that were sent until it was there."""
    now = datetime.fromtimestamp(SystemClock().time(), UTC)
    writer = ControlWriter(one.settings.kafka, one.settings.topics.control)
    writer.write(SHADOW, Shadowing(model=_SHADOW, share=1.0, at=now), within_s=PATIENCE_S)
    deadline = time.monotonic() + PATIENCE_S
    while together(board.reports, _SHADOW) is None and time.monotonic() < deadline:
        answered(one.at, Load(texts, _FEW, 1.0), one.servers, one.topic)
    return _settled(board, 0)


def _settled(board: Watched, posts: int) -> Compared:
    """What the shadow has answered once that is of so many posts, or more, and no longer changes."""
    deadline, last = time.monotonic() + PATIENCE_S, None
    while time.monotonic() < deadline:
        found = together(board.reports, _SHADOW)
        if found is not None and found.n + found.skipped >= posts and found == last:
            return found
        last = found
        time.sleep(_BETWEEN_REPORTS_S)
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
