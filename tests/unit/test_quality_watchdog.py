"""Alive: nothing to do, or it is done, or Kafka is away. Else a consumer has died in silence."""

from __future__ import annotations

from worker.clock import ManualClock
from worker.quality.watchdog import Watchdog
from worker.web.health import Health

STALL_S = 60.0


class Watched:
    def __init__(self) -> None:
        self.clock = ManualClock()
        self.health = Health(self.clock, STALL_S, ())
        self.watchdog = Watchdog(self.health)

    def minutes(self, count: int, *, waiting: bool = False, behind: int = 0, step: int = 0) -> bool:
        """Whether it is alive after so many minutes with a turn a second, and so many steps done in each."""
        for second in range(60 * count):
            self.clock.sleep(1)
            self.watchdog.turn(waiting=waiting, behind=behind, progress=second * step)
        return self.health.alive


def test_nothing_to_do_is_no_reason_to_die() -> None:
    assert Watched().minutes(10)


def test_slow_is_not_dead() -> None:
    assert Watched().minutes(10, behind=1_000_000, step=1)


def test_behind_and_still_is_dead() -> None:
    watched = Watched()

    assert watched.minutes(1, behind=1, step=1)
    assert not watched.minutes(2, behind=1)


def test_an_outage_is_waited_for_however_long() -> None:
    assert Watched().minutes(60, waiting=True, behind=1)


def test_one_step_revives_it() -> None:
    watched = Watched()
    watched.minutes(2, behind=1)

    watched.watchdog.turn(waiting=False, behind=1, progress="something else")
    assert watched.health.alive


def test_a_turn_that_never_comes_is_dead_too() -> None:
    watched = Watched()
    watched.clock.sleep(STALL_S + 1)

    assert not watched.health.alive
