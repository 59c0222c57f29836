"""`moodstream bench stream`: this worker and its peers on one real Kafka, in one run.

Each system is a process of its own that reads the same preloaded topic from the beginning. Its speed is
the slope of its output, observed after the first quarter or five seconds of its work, so that neither
start-up nor the broker's own warming up counts. Speeds on a shared machine drift, so the ratios of one run
are what counts.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs lack them
from rich.console import Console
from rich.progress import track

from worker.bench.bare_peer import RECORDS_PER_COMMIT
from worker.clock import backoff
from worker.configuration import environment
from worker.errors import DependencyError
from worker.local.kafka import RealKafka
from worker.local.processes import ChildProcess
from worker.model.bundled import bundled_model
from worker.settings import Settings
from worker.stream.batch import Batch, BatchBuilder, Entry
from worker.stream.model_stage import Asked
from worker.stream.role import builder, open_classifier
from worker.types import Post, Record

PARTITIONS = 4
_OBSERVE_S = 0.25
_ANSWER_S = 10.0
_START_S = 120.0
_WARM_UP_S = 5.0
_MODEL_POSTS = 8192
_LEADER_TRIES = 10
NULL_MODEL = {
    "MOODSTREAM_MODEL__BACKEND": "null",
    "MOODSTREAM_BATCH__MAX_RECORDS": str(RECORDS_PER_COMMIT),
    # The token budget bounds the model's time: without a model both loops commit the same number of records.
    "MOODSTREAM_BATCH__MAX_TOKENS": str(RECORDS_PER_COMMIT * 128),
}


@dataclass(frozen=True)
class System:
    """One competitor."""

    name: str
    command: Sequence[str]
    """After `python`; `{bootstrap}`, `{topic}`, `{out}` and `{group}` are filled in."""
    environment: dict[str, str]
    records: int
    """Most records to measure."""
    at_most_s: float = 20.0
    """Longest time to measure."""


def worker_environment(settings: Settings) -> dict[str, str]:
    """The environment of a worker under test: of the settings what is said of the model and its batches."""
    return environment(Settings(model=settings.model, batch=settings.batch))


def systems(settings: Settings, records: int) -> list[System]:
    """The competitors; `records` for the fastest, fewer for those that a model slows down."""
    model = settings.model.path or bundled_model()
    peer = ["{bootstrap}", "{topic}", "{out}", "{group}"]
    worker = ["-m", "worker", "worker"]
    return [
        System("bare confluent loop", ["-m", "worker.bench.bare_peer", *peer], {}, records),
        System("moodstream, null model", worker, {**worker_environment(settings), **NULL_MODEL}, records),
        System("plain Faust, no model", ["-m", "worker.bench.faust_peer", *peer], {}, records // 4),
        System("moodstream", worker, worker_environment(settings), records // 8),
        System(
            "plain Faust, transformers pipeline",
            ["-m", "worker.bench.faust_peer", *peer, str(model)],
            {},
            records // 100,
        ),
    ]


@contextmanager
def kafka(bootstrap: str | None, *, enduring: bool = True) -> Iterator[str]:
    """The Kafka given, else a real one started for this run."""
    if bootstrap is not None:
        yield bootstrap
        return
    with RealKafka(heap="1g", enduring=enduring) as server:
        yield server.bootstrap


def preload(bootstrap: str, topic: str, texts: Sequence[str], records: int) -> None:
    """Fill `topic` with posts that cycle through `texts`."""
    create(bootstrap, topic)
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 20})
    for index, text in enumerate(islice(cycle(texts), records)):
        value = msgspec.json.encode({"id": index, "text": text, "lang": "en", "source": "bench"})
        while True:
            try:
                producer.produce(topic, value, str(index).encode())
                break
            except BufferError:
                producer.poll(0.05)
    if producer.flush(60):
        raise DependencyError("kafka", "did not take the benchmark's posts within a minute")


def create(bootstrap: str, *topics: str) -> None:
    """Create topics of `PARTITIONS` partitions, and wait until each has a leader to ask."""
    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = admin.create_topics([NewTopic(topic, PARTITIONS, 1) for topic in topics])
    for future in made.values():
        future.result()
    probe = Consumer({"bootstrap.servers": bootstrap, "group.id": f"{topics[0]}-probe"})
    for wait_s in islice(backoff(), _LEADER_TRIES):
        try:
            for topic in topics:
                _arrived(probe, topic)
        except KafkaException:
            time.sleep(wait_s)
        else:
            break
    probe.close()


class Started:
    """A competitor at work: how far it has come."""

    def __init__(self, topic: str, out: str, group: str, probe: Consumer) -> None:
        self.out = out
        """The topic that it writes to."""
        self.group = group
        """The consumer group that it reads in."""
        self._topic = topic
        self._probe = probe

    def arrived(self) -> int:
        """Records in the topic that it writes to.

        Each transaction's marker counts one a partition: less than 1% where thousands share a transaction.
        """
        return _arrived(self._probe, self.out)

    def committed(self) -> int:
        """Records that its group has committed of the topic that it reads, however small its transactions."""
        partitions = [TopicPartition(self._topic, part) for part in range(PARTITIONS)]
        return sum(max(0, at.offset) for at in self._probe.committed(partitions, _ANSWER_S))

    def await_committed(self, records: int, within_s: float) -> None:
        """Return when it has committed so many.

        Raises:
            DependencyError: It takes longer.
        """
        deadline = time.monotonic() + within_s
        while self.committed() < records:
            if time.monotonic() > deadline:
                raise DependencyError("the worker", f"did not commit {records} records in {within_s:.0f} s")
            time.sleep(_OBSERVE_S)


@contextmanager
def started(system: System, bootstrap: str, topic: str, logs: Path) -> Iterator[Started]:
    """A competitor that reads `topic` from its beginning and has sent its first record; logs go to `logs`.

    Raises:
        DependencyError: It sent nothing within two minutes, or ended.
    """
    run = f"bench-{time.time_ns()}"
    out = f"{run}-out"
    create(bootstrap, out, f"{run}-dead")
    names = {"bootstrap": bootstrap, "topic": topic, "out": out, "group": run}
    process = ChildProcess(
        system.name,
        [sys.executable, *(part.format(**names) for part in system.command)],
        log=logs / f"{run}.log",
        env={**_environment(names, run), **system.environment},
    )
    # It asks what the group has committed, and never joins it.
    probe = Consumer({"bootstrap.servers": bootstrap, "group.id": run})
    at = Started(topic, out, run, probe)
    try:
        process.start(lambda: at.arrived() > 0, within_s=_START_S)
        yield at
    finally:
        process.kill()
        probe.close()


def measure(system: System, bootstrap: str, topic: str, logs: Path) -> float:
    """Records per second of one system, alone on the machine but for Kafka.

    Raises:
        DependencyError: As `started`.
    """
    with started(system, bootstrap, topic, logs) as at:
        return slope(at.arrived, system.records, at_most_s=system.at_most_s)


def _environment(names: dict[str, str], run: str) -> dict[str, str]:
    return {
        "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": names["bootstrap"],
        "MOODSTREAM_TOPICS__INPUTS": names["topic"],
        "MOODSTREAM_TOPICS__LABELS": names["out"],
        "MOODSTREAM_TOPICS__DEAD_LETTERS": f"{run}-dead",
        "MOODSTREAM_WORKER__GROUP_ID": run,
        "MOODSTREAM_WORKER__HTTP__PORT": "0",
    }


def slope(done: Callable[[], int], records: int, *, at_most_s: float) -> float:
    """Records per second, from the first quarter of `records` or five seconds until all, or for a time."""
    warm_at = time.monotonic() + _WARM_UP_S
    while done() < records // 4 and time.monotonic() < warm_at:
        time.sleep(_OBSERVE_S)
    first_at, first = time.monotonic(), done()
    last_at, last = first_at, first
    while last < records and last_at - first_at < at_most_s:
        time.sleep(_OBSERVE_S)
        last_at, last = time.monotonic(), done()
    return (last - first) / (last_at - first_at)


def _arrived(probe: Consumer, topic: str) -> int:
    """Records and markers in a topic."""
    marks = (probe.get_watermark_offsets(TopicPartition(topic, part)) for part in range(PARTITIONS))
    return sum(mark[1] for mark in marks if mark is not None)


def model_alone(settings: Settings, texts: Sequence[str], seconds: float = 10.0) -> float:
    """Posts per second of the model itself, on batches as the worker makes them, nothing else running."""
    classifier = open_classifier(settings)
    asked = Asked(classifier)
    batches = _batches(builder(settings), classifier.prepare(texts))
    done, start = 0, time.perf_counter()
    for batch in cycle(batches):
        done += len(asked.answer(batch).batch.entries)
        if time.perf_counter() - start > seconds:
            break
    classifier.close()
    return done / (time.perf_counter() - start)


def _batches(building: BatchBuilder, rows: Sequence[list[int]]) -> list[Batch]:
    entries = (
        Entry(Record("bench", 0, index, None, b"", 0), Post(id=index, text=""), None, row)
        for index, row in enumerate(rows)
    )
    batches = []
    for entry in entries:
        building.add([entry], now=0.0)
        if building.full:
            batches.append(building.take(time=0.0))
    return batches or [building.take(time=0.0)]


def run(settings: Settings, texts: Sequence[str], *, bootstrap: str | None, records: int) -> dict[str, float]:
    """Posts per second of every system, in the order of `systems`, the model alone first."""
    speeds = {"the model alone": model_alone(settings, texts[:_MODEL_POSTS])}
    with kafka(bootstrap) as servers, tempfile.TemporaryDirectory(prefix="moodstream-bench-") as logs:
        topic = f"bench-{time.time_ns()}"
        preload(servers, topic, texts, records)
        all_of_them = systems(settings, records)
        for system in track(all_of_them, console=Console(stderr=True), description="measuring"):
            speeds[system.name] = measure(system, servers, topic, Path(logs))
    return speeds
