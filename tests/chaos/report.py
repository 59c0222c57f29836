"""The result of a run, as machines take it."""

from __future__ import annotations

import statistics
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from tests.chaos.check import Label, Read, Verdict
from tests.chaos.faults import Injector
from tests.chaos.monitor import Monitor, Watch


def summary(read: Read, verdict: Verdict, monitor: Monitor) -> dict[str, Any]:
    """What came of the records."""
    labels = sum(isinstance(one, Label) for one in read.labels)
    return {
        "records": len(read.inputs),
        "lost": verdict.lost,
        "doubled": verdict.doubled,
        "out_of_order": verdict.out_of_order,
        "trends_exact": verdict.trends_off == 0,
        "longest_stall_s": round(monitor.seen.longest_stall_s, 1),
        "wrong": verdict.wrong,
        "trends_off": verdict.trends_off,
        "input_lost": verdict.input_lost,
        "input_doubled": verdict.input_doubled,
        "labels": labels,
        "tombstones": len(read.labels) - labels,
        "dead_letters": len(read.dead),
        "recovery_s": recoveries(monitor.done),
        "delay_s": delays([one.delay_s for one in monitor.seen.arrivals]),
    }


def of_faults(injector: Injector) -> dict[str, Any]:
    """What was done to the system, and what it did about it."""
    return {
        "faults": injector.done.total(),
        "faults_by_kind": dict(sorted(Counter(injector.done).items())),
        "zombies": injector.zombies,
        "zombies_refused": injector.zombies_refused,
        "exits": injector.exits,
    }


def recoveries(watches: Iterable[Watch]) -> dict[str, dict[str, float]]:
    """Seconds until every partition had a label of a post sent after the fault; others go on meanwhile."""
    by_kind: defaultdict[str, list[float]] = defaultdict(list)
    for watch in watches:
        if watch.took_s is not None:
            by_kind[watch.what].append(watch.took_s)
    return {
        kind: {"n": len(took), "p50": round(statistics.median(took), 1), "max": round(max(took), 1)}
        for kind, took in sorted(by_kind.items())
    }


def delays(seconds: Sequence[float]) -> dict[str, float]:
    """From sent to seen as committed."""
    found = sorted(seconds)
    return {
        f"p{percent}": round(found[min(len(found) - 1, len(found) * percent // 100)], 2)
        for percent in (50, 95, 99)
        if found
    }
