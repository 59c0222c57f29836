"""How long recovery takes, and that zombies are refused: one fault at a time. `make chaos-proofs`."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from typing import NamedTuple

import click
import pytest

from tests.chaos.check import check
from tests.chaos.monitor import Monitor
from tests.chaos.reading import drained, read_everything
from tests.chaos.schedule import TRENDS, WORKERS
from tests.chaos.system import SESSION_S, TRANSACTION_S, Options, System
from tests.chaos.traffic import Content, Traffic
from tests.support.network import Weather
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually

pytestmark = pytest.mark.timeout(600)

KILLS = 5
ZOMBIES = 8
"""At most."""
_FLOWING_S = 3.0
"""From sent to labelled, of the slowest partition; far more than a machine of its own takes."""
SEED = 21


class Running(NamedTuple):
    system: System
    monitor: Monitor
    traffic: Traffic

    def recovered(self, what: str) -> float:
        """Seconds until every partition has a label of a post that was sent from now on."""
        watch = self.monitor.watch(what)
        eventually(lambda: watch.took_s is not None, within_s=60)
        assert watch.took_s is not None
        return watch.took_s

    def settle(self) -> None:
        """Wait until all flows: nothing of an earlier fault may be measured."""
        eventually(lambda: self.recovered("settling") < _FLOWING_S, within_s=120)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with System(tmp_path_factory.mktemp("chaos"), Options(disk=False)) as system:
        settings = system.settings
        bootstrap = settings.kafka.bootstrap_servers
        monitor = Monitor.of(settings)
        traffic = Traffic(bootstrap, Content(SEED, time.time()), 200)
        monitor.start()
        traffic.start()
        eventually(monitor.flowing, within_s=120)
        yield Running(system, monitor, traffic)
        monitor.stop()


def test_a_killed_workers_partitions_are_labelled_again_within_ten_seconds(running: Running) -> None:
    """It does not come back meanwhile: the other two take over."""
    took = []
    for number in range(KILLS):
        running.settle()
        time.sleep(0.13 * number)  # at another place of the loop each time
        victim = running.system.roles[WORKERS[number % 2]]  # the third has a name, and its own place kept
        victim.process.kill()
        took.append(running.recovered("kill"))
        victim.process.start()
    click.echo(f"seconds from SIGKILL of one of three workers until all flowed again: {took}")
    click.echo(f"session timeout {SESSION_S:g} s, transaction timeout {TRANSACTION_S:g} s")
    assert max(took) <= 10.0


def test_a_worker_that_wakes_after_its_partitions_moved_publishes_nothing(running: Running) -> None:
    """Some of these stops hit a transaction, with which it goes on when it wakes: that one is refused."""
    zombie = running.system.roles[WORKERS[0]]
    said: list[str] = []
    for attempt in range(ZOMBIES):
        running.settle()
        for link in zombie.links.values():
            running.system.network.set(link, Weather(delay_s=0.7))  # every transaction takes seconds
        time.sleep(6.0 + 0.37 * attempt)
        before = zombie.process.log.count("publication aborted")
        assert running.system.signal(zombie.name, signal.SIGSTOP)
        recovered = running.recovered("zombie")
        for link in zombie.links.values():
            running.system.network.set(link, None)
        running.system.signal(zombie.name, signal.SIGCONT)
        running.settle()
        assert zombie.process.alive
        said = [line for line in zombie.process.log.splitlines() if "publication aborted" in line][before:]
        click.echo(f"others took over after {recovered:.1f} s; the zombie then said: {said or 'nothing'}")
        if said:
            break
    assert said, "none was stopped in the middle of a transaction: fencing was not seen"


def test_a_hung_worker_and_its_successor_do_not_go_on_side_by_side(running: Running) -> None:
    """An orchestrator that replaces a hung process without ending it: both have one name."""
    running.settle()
    hung = running.system.roles[WORKERS[2]]
    assert running.system.signal(hung.name, signal.SIGSTOP)
    successor = RoleProcess(
        "worker", running.system.folder / "successor.log", hung.environment, module=hung.module
    )
    successor.start()
    try:
        click.echo(f"flowing again {running.recovered('successor'):.1f} s after the successor was there")
        running.system.signal(hung.name, signal.SIGCONT)
        eventually(lambda: not (hung.process.alive and successor.alive), within_s=60)
        for name, process in (("the hung one", hung.process), ("its successor", successor)):
            if not process.alive:
                click.echo(f"{name} ended")
                assert process.exit_code == 4
                assert "worker.instance_id" in process.log
        running.settle()
    finally:
        successor.stop()
        hung.process.kill()
    hung.process.start()


def test_trends_catch_up_by_themselves_after_redis_was_away(running: Running) -> None:
    running.settle()
    redis = running.system.redis
    redis.kill()
    time.sleep(15)
    assert all(running.system.roles[name].process.live() for name in TRENDS)
    redis.start()
    back = time.monotonic()

    def ready() -> bool:
        return all(running.system.roles[name].process.ready() for name in TRENDS)

    def behind() -> float:
        lag = "moodstream_consumer_lag_records"
        return sum(running.system.roles[name].process.metric(lag) for name in TRENDS)

    eventually(ready, within_s=60)
    eventually(lambda: behind() < 100, within_s=60)
    click.echo(f"trends were at the end of the labels {time.monotonic() - back:.1f} s after redis was back")


def test_nothing_of_this_has_lost_or_doubled_anything(running: Running) -> None:
    running.traffic.finish(60)
    settings = running.system.settings
    eventually(lambda: drained(settings, settings.worker.group_id), within_s=60)
    read = read_everything(settings, running.traffic.sent, 60)
    verdict = check(read)
    click.echo(f"{verdict} over {len(read.inputs)} records")
    assert verdict.good, (verdict.examples, running.system.evidence(running.system.folder))
