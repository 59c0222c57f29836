"""How each fault is done and undone."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from confluent_kafka import Consumer

from tests.chaos.monitor import Monitor
from tests.chaos.replicas import overlapping
from tests.chaos.schedule import BROKERS, GUEST, PRODUCER, REDIS, Fault
from tests.chaos.system import SESSION_S, Role, System
from tests.chaos.traffic import FEEDBACK, TWEETS, Traffic
from tests.support.network import Weather
from worker.errors import DependencyError

_WATCHED = (
    "kill_worker",
    "stop_worker",
    "end_worker",
    "kill_broker",
    "stop_broker",
    "cut_link",
    "silence_link",
)
_ABORTED = "publication aborted"


class Injector:
    """Does faults to a system, each in a thread of its own, one at a time to each victim."""

    def __init__(
        self, system: System, traffic: Traffic, monitor: Monitor, say: Callable[[str], None]
    ) -> None:
        self._system = system
        self._traffic = traffic
        self._monitor = monitor
        self._say = say
        self._locks = {name: role.lock for name, role in system.roles.items()} | {
            REDIS: system.redis_lock,
            PRODUCER: threading.RLock(),
            **{name: threading.RLock() for name in BROKERS},
        }
        self._threads: list[threading.Thread] = []
        self._ending = threading.Event()
        self._supervisor = threading.Thread(target=self._supervise, name="supervisor", daemon=True)
        self.done: Counter[str] = Counter()
        self.troubles: list[str] = []
        """What the harness itself could not do."""
        self.exits: list[str] = []
        """Our processes that ended though nobody told them to."""
        self.zombies = 0
        """Workers that slept past their session while others took over."""
        self.zombies_refused = 0
        """Those of them that then tried to publish, and were refused."""

    def run(self, faults: Sequence[Fault], tick: Callable[[], None]) -> None:
        """Do all faults at their times; returns when the last has been undone."""
        self._supervisor.start()
        start = time.monotonic()
        for fault in faults:
            while (wait_s := start + fault.at_s - time.monotonic()) > 0:
                tick()
                time.sleep(min(wait_s, 0.2))
            thread = threading.Thread(target=self._do, args=(fault,), name=str(fault), daemon=True)
            self._threads.append(thread)
            thread.start()
        while any(thread.is_alive() for thread in self._threads):
            tick()
            time.sleep(0.2)

    def end(self) -> None:
        """No process is started any more."""
        self._ending.set()
        if self._supervisor.is_alive():
            self._supervisor.join(90)

    def _do(self, fault: Fault) -> None:
        method = getattr(self, fault.kind)
        with self._locks[fault.victim]:
            self._say(str(fault))
            if fault.kind in _WATCHED:
                self._monitor.watch(fault.kind)
            try:
                with method(fault):
                    time.sleep(fault.lasts_s)
                self.done[fault.kind] += 1
            except Exception as error:
                self.troubles.append(f"{fault}: {type(error).__name__}: {error}")
                self._say(f"trouble with {fault}: {error}")

    def _supervise(self) -> None:
        """Starts again what ended by itself, as an orchestrator does."""
        while not self._ending.wait(0.5):
            for role in self._system.roles.values():
                if role.name == GUEST or not role.lock.acquire(blocking=False):
                    continue
                try:
                    if not role.process.alive:
                        self._note_exit(role)
                        role.process.start()
                except DependencyError as error:
                    self.troubles.append(f"{role.name} did not start: {error}")
                finally:
                    role.lock.release()

    def _note_exit(self, role: Role) -> None:
        last = [line for line in role.process.log.splitlines() if line][-1:]
        self.exits.append(
            f"{role.name} ended by itself with {role.process.exit_code}: {''.join(last)[-400:]}"
        )
        self._say(self.exits[-1])

    # Processes of ours

    @contextmanager
    def kill_worker(self, fault: Fault) -> Iterator[None]:
        role = self._system.roles[fault.victim]
        role.process.kill()
        yield
        role.process.start()

    kill_trends = kill_worker

    @contextmanager
    def end_worker(self, fault: Fault) -> Iterator[None]:
        """As a deployment does: SIGTERM, and another start."""
        role = self._system.roles[fault.victim]
        code = role.process.stop()
        if code != 0:
            self.exits.append(f"{role.name} ended with {code} after SIGTERM")
        yield
        role.process.start()

    @contextmanager
    def stop_worker(self, fault: Fault) -> Iterator[None]:
        role = self._system.roles[fault.victim]
        with self._stopped(fault.victim):
            yield
        if fault.lasts_s > SESSION_S + 2:
            self._look_at_zombie(role)

    def _look_at_zombie(self, role: Role) -> None:
        before = role.process.log.count(_ABORTED)
        self.zombies += 1
        deadline = time.monotonic() + 3.0
        while time.monotonic() < deadline:
            if role.process.log.count(_ABORTED) > before:
                self.zombies_refused += 1
                return
            time.sleep(0.2)

    @contextmanager
    def stop_trends(self, fault: Fault) -> Iterator[None]:
        with self._stopped(fault.victim):
            yield

    @contextmanager
    def clock_step(self, fault: Fault) -> Iterator[None]:
        role = self._system.roles[fault.victim]
        role.step(fault.amount)
        yield
        role.step(0)

    @contextmanager
    def _stopped(self, *names: str) -> Iterator[None]:
        with ExitStack() as going_on:
            for name in names:
                if self._system.signal(name, signal.SIGSTOP):
                    going_on.callback(self._system.signal, name, signal.SIGCONT)
            yield

    @contextmanager
    def rebalance_storm(self, fault: Fault) -> Iterator[None]:
        """A fourth worker comes and goes, and members that only join and leave."""
        role = self._system.roles[GUEST]
        ending = threading.Event()
        thread = threading.Thread(target=self._join_and_leave, args=(ending,), daemon=True)
        thread.start()
        role.process.start()
        yield
        ending.set()
        if fault.lasts_s % 1 < 0.5:
            role.process.kill()
        else:
            role.process.stop()
        thread.join(30)

    def _join_and_leave(self, ending: threading.Event) -> None:
        while not ending.is_set():
            member = Consumer(
                {
                    "bootstrap.servers": self._system.cluster.bootstrap,
                    "group.id": self._system.settings.worker.group_id,
                    "partition.assignment.strategy": "cooperative-sticky",
                    "session.timeout.ms": int(SESSION_S * 1000),
                    "enable.auto.commit": False,
                }
                if self._system.options.group_protocol == "classic"
                else {
                    "bootstrap.servers": self._system.cluster.bootstrap,
                    "group.id": self._system.settings.worker.group_id,
                    "group.protocol": "consumer",
                    "enable.auto.commit": False,
                }
            )
            member.subscribe([TWEETS, FEEDBACK])
            until = time.monotonic() + 1.5
            while time.monotonic() < until and not ending.is_set():
                member.consume(1, 0.1)
            member.close()

    # Servers

    @contextmanager
    def kill_broker(self, fault: Fault) -> Iterator[None]:
        node = self._system.cluster.nodes[BROKERS.index(fault.victim)]
        node.kill()
        yield
        node.start()

    @contextmanager
    def end_broker(self, fault: Fault) -> Iterator[None]:
        node = self._system.cluster.nodes[BROKERS.index(fault.victim)]
        node.stop()
        yield
        node.start()

    @contextmanager
    def stop_broker(self, fault: Fault) -> Iterator[None]:
        with self._stopped(fault.victim):
            yield

    @contextmanager
    def stop_two_brokers(self, fault: Fault) -> Iterator[None]:
        other = BROKERS[(BROKERS.index(fault.victim) + 1) % len(BROKERS)]
        with self._stopped(fault.victim, other):
            yield

    @contextmanager
    def full_disk(self, fault: Fault) -> Iterator[None]:
        disk = self._system.disk
        assert disk is not None
        node = self._system.cluster.nodes[BROKERS.index(fault.victim)]
        disk.fill()
        try:
            yield
        finally:
            disk.relieve()
        if node.alive:
            self._say("the broker with the full disk lives")
            node.kill()  # its log directory is offline until it starts again
        for told in overlapping(disk.folder / "data"):
            self._say(f"kafka wrote offsets twice when its disk was full: {told}")
        node.start()

    @contextmanager
    def kill_redis(self, fault: Fault) -> Iterator[None]:
        self._system.redis.kill()
        yield
        self._system.redis.start()

    @contextmanager
    def stop_redis(self, fault: Fault) -> Iterator[None]:
        with self._stopped(REDIS):
            yield

    @contextmanager
    def redis_loses_a_second(self, fault: Fault) -> Iterator[None]:
        """As when the machine fails with `appendfsync everysec`: what was not synced is gone."""
        file = _append_only_file(self._system.redis.folder)
        size = file.stat().st_size
        time.sleep(1.0)
        self._system.redis.kill()
        if file == _append_only_file(self._system.redis.folder):
            os.truncate(file, min(size, file.stat().st_size))
        yield
        self._system.redis.start()

    # Links

    @contextmanager
    def _weather(self, fault: Fault, weather: Weather) -> Iterator[None]:
        links = self._system.roles[fault.victim].links
        chosen = [links[b] for b in BROKERS] if fault.peer == "*" else [links[fault.peer]]
        for link in chosen:
            self._system.network.set(link, weather)
        yield
        for link in chosen:
            self._system.network.set(link, None)

    @contextmanager
    def cut_link(self, fault: Fault) -> Iterator[None]:
        with self._weather(fault, Weather(cut=True)):
            yield

    @contextmanager
    def silence_link(self, fault: Fault) -> Iterator[None]:
        with self._weather(fault, Weather(silent=True)):
            yield

    @contextmanager
    def delay_link(self, fault: Fault) -> Iterator[None]:
        with self._weather(fault, Weather(delay_s=fault.amount)):
            yield

    @contextmanager
    def throttle_link(self, fault: Fault) -> Iterator[None]:
        with self._weather(fault, Weather(bytes_per_s=fault.amount)):
            yield

    @contextmanager
    def poison_burst(self, fault: Fault) -> Iterator[None]:
        self._traffic.burst(int(fault.amount))
        yield


def _append_only_file(folder: Path) -> Path:
    """The part of it that grows."""
    with suppress(ValueError):
        return max(folder.glob("appendonlydir/*.incr.aof"), key=lambda file: file.stat().st_mtime)
    return folder / "appendonly.aof"
