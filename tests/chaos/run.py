"""A whole run: start, faults, drain, read, check."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from tests.chaos.check import Verdict, check
from tests.chaos.disk import cannot_mount
from tests.chaos.faults import Injector
from tests.chaos.monitor import Monitor
from tests.chaos.reading import drained, read_everything
from tests.chaos.replicas import overlapping
from tests.chaos.report import of_faults, summary
from tests.chaos.schedule import BROKERS, GAP_S, KINDS, Fault, schedule
from tests.chaos.system import SESSION_S, Options, System
from tests.chaos.traffic import Content, Traffic
from tests.support.waiting import eventually

_START_S = 120.0
_FLUSH_S = 180.0
_DRAIN_S = 300.0


class Plan(NamedTuple):
    """What a run is asked to do."""

    seed: int = 1
    minutes: float = 1.0
    rate: float = 280.0
    """Records a second."""
    kinds: Collection[str] = tuple(KINDS)
    options: Options = Options()
    gap_s: tuple[float, float] = GAP_S
    """Between the beginnings of two faults."""
    trends_within_s: float = 180.0
    """How long trends may take at the end to be what the labels add up to."""


class Progress(NamedTuple):
    """What a run is at."""

    step: str
    part: float
    """Of the faults' time that is over, 0 to 1."""
    faults: int
    sent: int
    labels: int


class Outcome(NamedTuple):
    """What a run found."""

    verdict: Verdict
    result: dict[str, Any]
    """For machines."""
    good: bool


def possible(kinds: Collection[str]) -> tuple[tuple[str, ...], dict[str, str]]:
    """The kinds that can be made on this machine, and why the others cannot."""
    missing: dict[str, str] = {}
    if "full_disk" in kinds and (reason := cannot_mount()) is not None:
        missing["full_disk"] = reason
    return tuple(kind for kind in kinds if kind not in missing), missing


def run(plan: Plan, folder: Path, say: Callable[[str], None], show: Callable[[Progress], None]) -> Outcome:
    """Do it; `say` takes lines for people, `show` the progress, several times a second."""
    kinds, missing = possible(plan.kinds)
    for kind, reason in missing.items():
        say(f"left out: {kind} ({reason})")
    faults = schedule(plan.seed, plan.minutes * 60, kinds, plan.gap_s)
    options = plan.options._replace(disk="full_disk" in kinds)
    show(Progress("starting", 0, 0, 0, 0))
    with System(folder, options) as system:
        watching = _Watching(system, plan, say, show)
        watching.do(faults)
        ended = watching.drain()
        read = read_everything(system.settings, watching.traffic.sent, plan.trends_within_s)
        exact_s = time.monotonic() - watching.lifted
        watching.monitor.stop()
        verdict = check(read)
        logs = _overlapping(system, say)
        if not verdict.good:  # while Kafka still has it
            for kept in system.evidence(folder):
                say(f"to be looked into: {kept}")
    result = {
        "seed": plan.seed,
        "minutes": plan.minutes,
        **summary(read, verdict, watching.monitor),
        **of_faults(watching.injector),
        "overlapping_batches": len(logs),
        "left_out": missing,
        "drained_s": round(ended - watching.lifted, 1),
        "exact_s": round(exact_s, 1),
        "session_timeout_s": SESSION_S,
        "model": options.model,
        "group_protocol": options.group_protocol,
        "problems": watching.problems,
    }
    return Outcome(verdict, result, verdict.good and not watching.problems and not watching.injector.exits)


def _overlapping(system: System, say: Callable[[str], None]) -> list[str]:
    """What is wrong with the brokers' own files: then Kafka itself has doubled records."""
    found = [
        f"{name}: {told}"
        for name, node in zip(BROKERS, system.cluster.nodes, strict=True)
        for told in overlapping(Path(node.properties["log.dirs"]))
    ]
    for told in found:
        say(f"kafka wrote offsets twice: {told}")
    return found


class _Watching:
    """A running system with its traffic, its faults and what is seen of it."""

    def __init__(
        self, system: System, plan: Plan, say: Callable[[str], None], show: Callable[[Progress], None]
    ) -> None:
        settings = system.settings
        self._system = system
        self._plan = plan
        self._say = say
        self._show = show
        self.monitor = Monitor.of(settings)
        self.traffic = Traffic(settings.kafka.bootstrap_servers, Content(plan.seed, time.time()), plan.rate)
        self.injector = Injector(system, self.traffic, self.monitor, say)
        self.lifted = 0.0
        """When the last fault was over."""
        self._start = 0.0
        self._drained: list[str] = []

    @property
    def problems(self) -> list[str]:
        """What went wrong that is no broken promise by itself."""
        return self.injector.troubles + self._drained

    def do(self, faults: Sequence[Fault]) -> None:
        """Wait until all flows, and do the faults in the time that the plan has for them."""
        self.monitor.start()
        self.traffic.start()
        eventually(self.monitor.flowing, within_s=_START_S)
        self._say("all partitions flow")
        self.monitor.begin_measuring()
        self._start = time.monotonic()
        self.injector.run(faults, self._tick)
        while time.monotonic() - self._start < self._plan.minutes * 60:
            self._tick()
            time.sleep(0.2)
        self.lifted = time.monotonic()

    def drain(self) -> float:
        """Send no more, and wait until the workers have read all; answers when that was."""
        self.traffic.finish(_FLUSH_S)
        settings = self._system.settings
        while not drained(settings, settings.worker.group_id):
            self._tick("draining")
            if time.monotonic() > self.lifted + _DRAIN_S:
                self._drained = [f"the workers had not read all {_DRAIN_S:.0f} s after the last fault"]
                break
            time.sleep(0.5)
        ended = time.monotonic()
        self.injector.end()
        self._tick("reading")
        return ended

    def _tick(self, step: str = "faults") -> None:
        part = min(1.0, (time.monotonic() - self._start) / (self._plan.minutes * 60))
        faults, sent, labels = self.injector.done.total(), self.traffic.sent, self.monitor.seen.labels
        self._show(Progress(step, part, faults, sent, labels))
