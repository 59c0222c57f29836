"""A whole run: events, loads, drain, check."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import msgspec

from tests.chaos.check import check
from tests.chaos.monitor import Monitor
from tests.chaos.reading import drained, read_everything
from tests.chaos.system import SESSION_S, Options, System
from tests.chaos.traffic import Content, Traffic
from tests.scale_proof.queueing import Point, calibrate, measure
from tests.scale_proof.scaling import MEMBERS, Event, Group, scale
from tests.support.waiting import eventually

_START_S = 120.0
_DRAIN_S = 120.0


class Found(msgspec.Struct, frozen=True):
    """What came of it."""

    records: int
    lost: int
    doubled: int
    out_of_order: int
    trends_exact: bool
    events: list[Event]
    queueing: list[Point]
    off_p50: float
    off_p99: float
    """The largest errors of the arithmetic, as shares: measurements, not promises."""
    session_timeout_s: float
    problems: list[str]

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        broken = (self.lost, self.doubled, self.out_of_order, self.problems)
        return not any(broken) and self.trends_exact


def run(folder: Path, seed: int, seconds: float, say: Callable[[str], None]) -> Found:
    """Do it; `seconds` of each load that delays are measured at."""
    options = Options(disk=False, workers=1, fixed_names=False, worker_module="tests.scale_proof.process")
    with System(folder, options) as system:
        settings = system.settings
        monitor = Monitor.of(settings)
        traffic = Traffic(settings.kafka.bootstrap_servers, Content(seed, time.time(), feedback_every=2), 50)
        group = Group(system, monitor, traffic)
        monitor.start()
        traffic.start()
        eventually(monitor.flowing, within_s=_START_S)
        events = scale(group, say)
        points = _points(group, seconds, say)
        traffic.finish(60)
        eventually(lambda: drained(settings, settings.worker.group_id), within_s=_DRAIN_S)
        monitor.stop()
        verdict = check(read_everything(settings, traffic.sent, _DRAIN_S))
        problems = [*group.exits, *verdict.examples]
        if verdict.wrong or verdict.input_lost:
            problems.append(f"wrong {verdict.wrong}, inputs lost {verdict.input_lost}")
        if not verdict.good:
            problems += [f"to be looked into: {kept}" for kept in system.evidence(folder)]
    return Found(
        records=traffic.sent,
        lost=verdict.lost,
        doubled=verdict.doubled,
        out_of_order=verdict.out_of_order,
        trends_exact=verdict.trends_off == 0,
        events=events,
        queueing=points,
        off_p50=_largest([point.off[0] for point in points]),
        off_p99=_largest([point.off[1] for point in points]),
        session_timeout_s=SESSION_S,
        problems=problems,
    )


def _largest(errors: list[float]) -> float:
    low, high = min(errors), max(errors)
    return round(high if high >= -low else low, 3)


def _points(group: Group, seconds: float, say: Callable[[str], None]) -> list[Point]:
    found: list[Point] = []
    transit_s = calibrate(group, seconds)
    say(f"to and from a worker: {transit_s * 1000:.0f} ms")
    for workers in (1, 2, 4):
        group.start([name for name in MEMBERS[:workers] if not group.system.roles[name].process.alive])
        for load in (0.5, 0.75):
            found.append(measure(group, load, seconds, transit_s))
            say(f"{found[-1]}")
    return found
