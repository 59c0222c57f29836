"""How long posts take at some load, measured, and what the arithmetic of `worker.bench.capacity` says."""

from __future__ import annotations

import time
from collections.abc import Sequence

import msgspec

from tests.chaos.report import delays as measured_delays
from tests.scale_proof.process import BASE_S, POST_S
from tests.scale_proof.scaling import MEMBERS, Group
from worker.bench.capacity import Turn, delays

MOST = 200
LINGER_S = 0.05
"""Of the workers of `tests.chaos.system`."""
_LOW = 0.25


class Point(msgspec.Struct, frozen=True):
    """One load on some workers."""

    workers: int
    posts_per_s: float
    load: float
    """Of the capacity of all workers."""
    commit_ms: float
    """Of a transaction, measured; what the arithmetic takes in."""
    transit_ms: float
    """What it takes for the way to and from the worker: measured once, at a low load."""
    p50_ms: float
    p99_ms: float
    predicted_p50_ms: float
    predicted_p99_ms: float

    @property
    def off(self) -> tuple[float, float]:
        """The errors of median and p99, as shares of what was measured; above 0: it says too much."""
        return self.predicted_p50_ms / self.p50_ms - 1, self.predicted_p99_ms / self.p99_ms - 1


class _Counts(msgspec.Struct, frozen=True):
    """Of one worker so far."""

    posts: float
    commits: float
    commit_s: float


def calibrate(group: Group, seconds: float) -> float:
    """What the arithmetic does not know at a low load, where it knows nearly all: the way, in seconds."""
    point = measure(group, _LOW, seconds, 0.0)
    return max(0.0, point.p50_ms - point.predicted_p50_ms) / 1000


def measure(group: Group, load: float, seconds: float, transit_s: float) -> Point:
    """Send that share of what the running workers can do, and hold their delays against the arithmetic."""
    names = [name for name in MEMBERS if group.system.roles[name].process.alive]
    rate = load * len(names) * Turn(BASE_S, POST_S, 0, LINGER_S, MOST).capacity
    group.event(f"{len(names)} workers at {load:g}", rate, lambda: None)
    before, since = [_counts(group, name) for name in names], time.time()
    time.sleep(seconds)
    now, after = time.time(), [_counts(group, name) for name in names]
    found = [one.delay_s for one in list(group.monitor.seen.arrivals) if since <= one.at <= now]
    seen = measured_delays(found)
    commits = sum(b.commits - a.commits for a, b in zip(before, after, strict=True))
    commit_s = sum(b.commit_s - a.commit_s for a, b in zip(before, after, strict=True)) / commits
    said = delays(
        Turn(BASE_S, POST_S, commit_s, LINGER_S, MOST, transit_s), _rates(before, after, now - since)
    )
    return Point(
        workers=len(names),
        posts_per_s=round(len(found) / (now - since), 1),
        load=load,
        commit_ms=round(commit_s * 1000, 1),
        transit_ms=round(transit_s * 1000),
        p50_ms=round(seen["p50"] * 1000),
        p99_ms=round(seen["p99"] * 1000),
        predicted_p50_ms=round(said.p50_s * 1000),
        predicted_p99_ms=round(said.p99_s * 1000),
    )


def _rates(before: Sequence[_Counts], after: Sequence[_Counts], seconds: float) -> list[float]:
    """Posts a second of each worker: partitions do not spread evenly."""
    return [(b.posts - a.posts) / seconds for a, b in zip(before, after, strict=True)]


def _counts(group: Group, name: str) -> _Counts:
    metric = group.system.roles[name].process.metric
    return _Counts(
        metric("moodstream_labels_total"),
        metric("moodstream_step_seconds_count", step="commit"),
        metric("moodstream_step_seconds_sum", step="commit"),
    )
