"""From one worker to four and back, as an autoscaler would do it, with a kill in between."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import msgspec

from tests.chaos.monitor import Monitor
from tests.chaos.schedule import GUEST, WORKERS
from tests.chaos.system import System
from tests.chaos.traffic import Traffic
from tests.scale_proof.steady import steady_s

MEMBERS = (*WORKERS, GUEST)
_AT_MOST_S = 180.0
_STAYS_S = 5.0
_RESTART_S = 15.0
"""Until an orchestrator has a killed worker running again."""
_SENT = 0.97
"""Of the records, posts: the others are deletions and poison, and show no delay."""


class Event(msgspec.Struct, frozen=True):
    """Something that happened to the group."""

    what: str
    workers: int
    """Running afterwards."""
    posts_per_s: float
    steady_s: float
    """Until the last late label; 0 where none was late."""


class Group:
    """The workers under test."""

    def __init__(self, system: System, monitor: Monitor, traffic: Traffic) -> None:
        self.system = system
        self.monitor = monitor
        self.traffic = traffic
        self.exits: list[str] = []
        """Of workers that were told to end: how, where it was not 0."""

    def start(self, names: Sequence[str]) -> None:
        for name in names:
            self.system.roles[name].process.start()

    def stop(self, names: Sequence[str]) -> None:
        """SIGTERM, as an orchestrator does; they finish what they hold."""
        for name in names:
            code = self.system.roles[name].process.stop()
            if code != 0:
                self.exits.append(f"{name} ended with {code}")

    @property
    def running(self) -> int:
        return sum(self.system.roles[name].process.alive for name in MEMBERS)

    def event(self, what: str, posts_per_s: float, do: Callable[[], None]) -> Event:
        """Let it happen, wait until posts are in time again, and stay there for a moment."""
        self.traffic.rate = posts_per_s
        since = time.time()
        do()
        return self._settled(what, posts_per_s, since)

    def _settled(self, what: str, posts_per_s: float, since: float) -> Event:
        while (took := self._steady(since, posts_per_s)) is None:
            if time.time() > since + _AT_MOST_S:
                raise AssertionError(f"{what}: posts were still late after {_AT_MOST_S:g} s")
            time.sleep(0.25)
        time.sleep(_STAYS_S)
        return Event(what, self.running, posts_per_s, round(took, 1))

    def _steady(self, since: float, posts_per_s: float) -> float | None:
        return steady_s(list(self.monitor.seen.arrivals), since, time.time(), _SENT * posts_per_s)


def scale(group: Group, say: Callable[[str], None]) -> list[Event]:
    """All events in their order; `group` begins with one worker."""
    found: list[Event] = []

    def then(what: str, posts_per_s: float, do: Callable[[], None]) -> None:
        found.append(group.event(what, posts_per_s, do))
        say(f"{what}: {found[-1].steady_s:g} s")

    def kill() -> None:
        group.system.roles[WORKERS[1]].process.kill()
        time.sleep(_RESTART_S)
        group.start([WORKERS[1]])

    then("start with one", 50, lambda: None)
    then("load doubles, 1 to 2", 100, lambda: group.start(MEMBERS[1:2]))
    then("load doubles, 2 to 4", 200, lambda: group.start(MEMBERS[2:]))
    then("one of 4 killed, back after 15 s", 200, kill)
    then("load halves, 4 to 2", 100, lambda: group.stop(MEMBERS[2:]))
    then("load halves, 2 to 1", 50, lambda: group.stop(MEMBERS[1:2]))
    return found
