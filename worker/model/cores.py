"""How many cores this process may use: those it may run on, and no more than a container's share of time."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from pathlib import Path


def usable_cores(cgroups: Path = Path("/sys/fs/cgroup"), own: Path = Path("/proc/self/cgroup")) -> int:
    """At least one; a part of a core counts as one.

    A container whose processor time is limited (`docker run --cpus 2`, a limit in Kubernetes) still sees all
    cores of its machine. A thread on each would take turns, and all stop together when the time is used up.

    Args:
        cgroups: Where Linux shows control groups, of version 2 or 1.
        own: Which of them this process is in.
    """
    # macOS has no affinity.
    seen = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([seen, *(math.ceil(cores) for cores in _quotas(cgroups, own))]))


def _quotas(cgroups: Path, own: Path) -> Iterator[float]:
    """Cores' worth of time, of each group that limits it: our own and those that it is in."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if not controllers:
            for group in _upwards(cgroups, path):
                yield from _quota(group / "cpu.max")
        elif "cpu" in controllers.split(","):
            for group in _upwards(cgroups / controllers, path):
                yield from _quota(group / "cpu.cfs_quota_us", group / "cpu.cfs_period_us")


def _upwards(top: Path, path: str) -> Iterator[Path]:
    """The group and all around it. In a container the path may be the host's: then only the top is there."""
    group = top / path.lstrip("/")
    yield group
    while group != top and top in group.parents:
        group = group.parent
        yield group


def _quota(*files: Path) -> Iterator[float]:
    """Time and period in microseconds, in one file or two; nothing where there is no limit."""
    try:
        quota, period = " ".join(file.read_text() for file in files).split()
        if quota not in ("max", "-1"):
            yield int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):
        return
