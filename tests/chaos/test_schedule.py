"""The schedule is a pure function of the seed, and never takes more away than the stream can bear."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter

import pytest

from tests.chaos.schedule import BROKERS, KINDS, REDIS, TRENDS, WORKERS, Fault, schedule

LONG = 1200.0


def overlapping(faults: tuple[Fault, ...], names: tuple[str, ...]) -> int:
    """The most of these victims that are away at once."""
    ours = [fault for fault in faults if fault.victim in names]
    return max(sum(one.at_s <= at.at_s < one.at_s + one.lasts_s for one in ours) for at in ours)


def test_the_same_seed_gives_the_same_faults_in_every_process() -> None:
    script = "from tests.chaos.schedule import schedule; print(schedule(7, 300))"
    printed = [
        subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True
        ).stdout.strip()
        for _ in range(2)
    ]
    assert printed == [str(schedule(7, 300))] * 2


def test_another_seed_gives_others() -> None:
    assert len({schedule(seed, 300) for seed in range(20)}) == 20


@pytest.mark.parametrize("seed", range(1, 21))
def test_twenty_minutes_hold_a_hundred_and_fifty_faults_of_every_kind(seed: int) -> None:
    faults = schedule(seed, LONG)
    assert len(faults) >= 150
    assert Counter(fault.kind for fault in faults).keys() == KINDS.keys()


@pytest.mark.parametrize("seed", range(1, 21))
def test_never_so_much_is_away_that_nothing_can_go_on(seed: int) -> None:
    faults = schedule(seed, LONG)
    assert overlapping(faults, BROKERS) == 1
    assert overlapping(faults, WORKERS) <= 2
    assert overlapping(faults, (REDIS,)) == 1
    for name in (*WORKERS, *TRENDS, *BROKERS, REDIS):
        assert overlapping(faults, (name,)) <= 1
    two = [fault.lasts_s for fault in faults if fault.kind == "stop_two_brokers"]
    assert max(two) <= 5


@pytest.mark.parametrize("seed", range(1, 6))
def test_all_is_lifted_at_the_end(seed: int) -> None:
    faults = schedule(seed, 60)
    assert list(faults) == sorted(faults)
    assert all(fault.at_s + fault.lasts_s <= 60 for fault in faults)


def test_only_the_kinds_that_are_asked_for() -> None:
    faults = schedule(3, LONG, ("kill_worker", "stop_redis"))
    assert {fault.kind for fault in faults} == {"kill_worker", "stop_redis"}
    assert len(faults) >= 100
