"""What a benchmark found, for people and for machines. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from worker.bench.api import Found as Answered
from worker.bench.capacity import Needs
from worker.bench.latency import Found
from worker.bench.memory import Footprint
from worker.bench.trends import Found as Counted

_OURS = "moodstream"
"""How the names of our own systems begin; the others are peers."""


def ratios(speeds: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Of each system to each other one of the same run."""
    return {
        name: {peer: round(speed / other, 3) for peer, other in speeds.items() if peer != name and other > 0}
        for name, speed in speeds.items()
    }


def as_json(speeds: Mapping[str, float]) -> dict[str, Any]:
    """Per system its `tweets_per_s` and its `ratio` to each peer."""
    by_peer = ratios(speeds)
    return {name: {"tweets_per_s": round(speed, 1), "ratio": by_peer[name]} for name, speed in speeds.items()}


def as_table(speeds: Mapping[str, float], title: str) -> Table:
    """Each system's speed, and how many times that of each peer, by the peers' numbers."""
    table = Table(title=title, box=SIMPLE, padding=0, collapse_padding=True)
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("system")
    table.add_column("posts/s", justify="right", no_wrap=True)
    numbers = {name: str(number) for number, name in enumerate(speeds, start=1)}
    peers = [name for name in speeds if not name.startswith(_OURS)]
    for peer in peers:
        table.add_column(f"x{numbers[peer]}", justify="right", no_wrap=True)
    for name, speed in speeds.items():
        shares = [
            f"{speed / speeds[peer]:.2f}" if peer != name and speeds[peer] > 0 else "" for peer in peers
        ]
        table.add_row(numbers[name], name, f"{speed:,.0f}", *shares)
    return table


def waits_table(found: Found) -> Table:
    """What posts waited at each share of the capacity."""
    promise = "no promise" if found.slo_ms is None else f"--slo-ms {found.slo_ms:g}"
    table = Table(title=f"moodstream bench latency, {promise}, capacity {found.capacity:,.0f} posts/s")
    for name in ("of capacity", "posts/s", "posts", "lost", "p50 ms", "p99 ms", "p99.9 ms", "worst ms"):
        table.add_column(name, justify="right")
    for one in found.loads:
        waits = (one.p50_ms, one.p99_ms, one.p999_ms, one.worst_ms)
        table.add_row(
            f"{one.share:.0%}",
            f"{one.posts_per_s:,.0f}",
            f"{one.posts:,}",
            str(one.lost),
            *(f"{wait:,.1f}" for wait in waits),
        )
    return table


def footprints_table(found: Mapping[str, Footprint]) -> Table:
    """What each role holds, idle and with a backlog."""
    table = Table(title="moodstream bench memory, MiB resident")
    for name in ("role", "idle", "most", "more", "backlog", "done", "seconds"):
        table.add_column(name, justify="left" if name == "role" else "right")
    for name, one in found.items():
        sizes = (f"{size:,.0f}" for size in (one.idle_mb, one.max_mb, one.more_mb))
        table.add_row(name, *sizes, f"{one.backlog:,}", f"{one.done:,}", f"{one.seconds:,.0f}")
    return table


def labels_table(found: Counted) -> Table:
    """How fast each system counts labels."""
    table = Table(title=f"moodstream bench trends, labels of {found.minutes:g} minutes")
    for name in ("system", "labels/s", "labels", "x bare loop"):
        table.add_column(name, justify="left" if name == "system" else "right")
    for name, one in found.systems.items():
        table.add_row(name, f"{one.labels_per_s:,.0f}", f"{one.labels:,}", f"{one.x_bare:.2f}")
    return table


def answers_table(found: Answered) -> Table:
    """How long each kind of question took."""
    table = Table(title=f"moodstream bench api, {found.labels:,} labels, {found.queries:,} tracked queries")
    for name in ("question", "asked", "p50 ms", "p99 ms", "worst ms"):
        table.add_column(name, justify="left" if name == "question" else "right")
    for name, took in found.questions.items():
        figures = (f"{each:,.1f}" for each in (took.p50_ms, took.p99_ms, took.worst_ms))
        table.add_row(name, f"{took.n:,}", *figures)
    return table


def needs_table(found: Sequence[Needs]) -> Table:
    """What each rate needs."""
    table = Table(title="moodstream bench plan")
    for name in (
        "posts/s",
        "workers",
        "partitions",
        "trends",
        "Redis",
        "brokers",
        "MB/s written",
        "TB a week",
        "price per million",
    ):
        table.add_column(name, justify="right")
    for one in found:
        counts = (one.workers, one.partitions, one.trends, one.redis, one.brokers)
        table.add_row(
            f"{one.posts_per_s:,.0f}",
            *(f"{n:,}" for n in counts),
            f"{one.kafka_mb_per_s:,.1f}",
            f"{one.kafka_tb_per_week:,.2f}",
            f"{one.price_per_million:.3f}",
        )
    return table
