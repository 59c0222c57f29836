"""`moodstream bench memory`: what a role holds while it has nothing to do, and with a backlog before it.

Each role is started twice: on empty topics, for what it takes to be ready, and on topics that are full, for
the most that it ever holds.
"""

from __future__ import annotations

import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, TopicPartition
from redis import Redis
from rich.console import Console
from rich.progress import track

from worker.bench.stream import NULL_MODEL, PARTITIONS, create, kafka, preload
from worker.errors import DependencyError
from worker.local.processes import HOST, ChildProcess, free_port
from worker.local.redis import RealRedis
from worker.local.resident import Resident

_IDLE_S = 15.0
_LOOK_S = 0.5
_READY_S = 120.0
_ANSWER_S = 10.0
_AT_MOST_S = 600.0
_PAUSE_MS = 200
_PAUSE_EVERY_S = 0.25
_WEIGHT = 4


class Footprint(msgspec.Struct, frozen=True):
    """What a role was seen to hold, in MiB of resident memory."""

    idle_mb: float
    """Ready, 15 seconds after its start, with nothing to do."""
    max_mb: float
    """The most with a backlog."""
    more_mb: float
    """The one less the other."""
    backlog: int
    """Records that were waiting."""
    done: int
    """How many of them it committed meanwhile."""
    seconds: float


@dataclass(frozen=True)
class _Case:
    """A role and what it works on."""

    role: str
    environment: Mapping[str, str]
    topics: tuple[str, ...]
    """With a backlog."""
    backlog: int
    at_most_s: float = _AT_MOST_S
    slow_redis: bool = False

    def on(self, topics: Sequence[str], group: str, port: int) -> dict[str, str]:
        """The role's environment when it reads these topics."""
        inputs = {"worker": "TOPICS__INPUTS", "trends": "TOPICS__LABELS"}[self.role]
        weights = {"MOODSTREAM_TOPICS__WEIGHTS": f"{topics[-1]}={_WEIGHT}"} if len(topics) > 1 else {}
        return {
            **self.environment,
            **weights,
            f"MOODSTREAM_{inputs}": ",".join(topics),
            f"MOODSTREAM_{self.role.upper()}__GROUP_ID": group,
            f"MOODSTREAM_{self.role.upper()}__HTTP__PORT": str(port),
            "MOODSTREAM_TRENDS__NAMESPACE": group,
        }


def run(texts: Sequence[str], *, bootstrap: str | None, records: int, seconds: float) -> dict[str, Footprint]:
    """The footprints of the worker and of the trends role.

    Args:
        texts: Posts.
        bootstrap: A Kafka to use instead of starting one.
        records: Of the backlog.
        seconds: How long the worker with a model is watched: all of it would take an hour.

    Raises:
        DependencyError: a role did not come up, or a server is missing.
    """
    found: dict[str, Footprint] = {}
    with (
        kafka(bootstrap) as servers,
        RealRedis() as redis,
        tempfile.TemporaryDirectory(prefix="moodstream-bench-") as logs,
    ):
        name = f"memory-{time.time_ns()}"
        preload(servers, f"{name}-tweets", texts, records)
        preload(servers, f"{name}-feedback", texts, records // 10)
        create(servers, *(f"{name}-{topic}" for topic in ("labels", "scratch", "dead", "control")))
        cases = _cases(name, servers, redis.url, records, seconds)
        for title in track(cases, console=Console(stderr=True), description="measuring"):
            case = cases[title]
            with _slowed(redis) if case.slow_redis else nullcontext():
                found[title] = _measure(case, servers, Path(logs))
    return found


def _cases(name: str, bootstrap: str, redis: str, records: int, seconds: float) -> dict[str, _Case]:
    tweets, feedback = f"{name}-tweets", f"{name}-feedback"
    shared = {
        "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
        "MOODSTREAM_TOPICS__LABELS": f"{name}-scratch",
        "MOODSTREAM_TOPICS__DEAD_LETTERS": f"{name}-dead",
        "MOODSTREAM_TOPICS__CONTROL": f"{name}-control",
        "MOODSTREAM_REDIS__URL": redis,
    }
    null = {**shared, **NULL_MODEL}
    counted = {**null, "MOODSTREAM_TOPICS__LABELS": f"{name}-labels"}  # these are what trends counts
    both = records + records // 10
    return {
        "worker, null model": _Case("worker", counted, (tweets,), records),
        f"worker, null model, feedback={_WEIGHT}": _Case("worker", null, (tweets, feedback), both),
        "worker": _Case("worker", shared, (tweets,), records, seconds),
        "trends": _Case("trends", shared, (f"{name}-labels",), records),
        "trends, slow Redis": _Case("trends", shared, (f"{name}-labels",), records, slow_redis=True),
    }


def _measure(case: _Case, bootstrap: str, logs: Path) -> Footprint:
    empty = [f"{topic}-none-{time.time_ns()}" for topic in case.topics]
    create(bootstrap, *empty)
    with _started(case, empty, f"idle-{time.time_ns()}", logs) as resident:
        time.sleep(_IDLE_S)
        idle_mb = resident.now_mb
    group = f"busy-{time.time_ns()}"
    probe = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    try:
        with _started(case, case.topics, group, logs) as resident:
            start, done = time.monotonic(), 0
            while done < case.backlog and time.monotonic() - start < case.at_most_s:
                time.sleep(_LOOK_S)
                done = _committed(probe, case.topics)
            seconds = time.monotonic() - start
    finally:
        probe.close()
    return Footprint(
        idle_mb=round(idle_mb, 1),
        max_mb=round(resident.max_mb, 1),
        more_mb=round(resident.max_mb - idle_mb, 1),
        backlog=case.backlog,
        done=min(done, case.backlog),
        seconds=round(seconds, 1),
    )


def _committed(probe: Consumer, topics: Sequence[str]) -> int:
    """Records that the group has committed; in the labels topic also transactions' markers, a few."""
    partitions = [TopicPartition(topic, number) for topic in topics for number in range(PARTITIONS)]
    return sum(max(0, at.offset) for at in probe.committed(partitions, _ANSWER_S))


@contextmanager
def _started(case: _Case, topics: Sequence[str], group: str, logs: Path) -> Iterator[Resident]:
    """The role at work on these topics, its memory watched from when it is ready."""
    port = free_port()
    process = ChildProcess(
        case.role,
        [sys.executable, "-m", "worker", case.role],
        log=logs / f"{group}.log",
        env=case.on(topics, group, port),
    )
    try:
        process.start(lambda: _ready(port), within_s=_READY_S)
        if process.pid is None:
            raise DependencyError(case.role, "ended at once")
        with Resident(process.pid) as resident:
            yield resident
    finally:
        process.kill()


def _ready(port: int) -> bool:
    try:
        with urllib.request.urlopen(f"http://{HOST}:{port}/readyz", timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@contextmanager
def _slowed(redis: RealRedis) -> Iterator[None]:
    """A Redis that stands still for four fifths of the time."""
    closing = threading.Event()

    def stall() -> None:
        with Redis.from_url(redis.url) as client:
            while not closing.wait(_PAUSE_EVERY_S):
                client.client_pause(_PAUSE_MS)

    thread = threading.Thread(target=stall, name="slow-redis", daemon=True)
    thread.start()
    try:
        yield
    finally:
        closing.set()
        thread.join()
