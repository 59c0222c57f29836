"""`moodstream bench latency`: how long posts wait, at shares of what the worker can do, on a real Kafka.

Open loop: every post has its time in a schedule drawn beforehand (a Poisson process), is sent then whether or
not earlier ones have been answered, and its wait is counted from the schedule. A sender that falls behind, or
a worker that stalls, thus shows in the figures instead of slowing the load down (coordinated omission).
"""

from __future__ import annotations

import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import numpy as np
from confluent_kafka import Consumer, Producer
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track

from worker.bench.stream import Started, System, kafka, preload, slope, started, worker_environment
from worker.errors import DependencyError
from worker.settings import Settings

_WARM_UP_SHARE = 0.2
"""Of the posts of a load, the first ones, that are not counted."""
_OVERLOAD = 1.2
"""Of what the worker does with a backlog: more than it can do beside sender and reader."""
_PATIENCE_S = 60.0
_BATCH = 512
_IDLE_S = 0.05
"""How soon the reader sees that it is to stop."""


class Waits(msgspec.Struct, frozen=True):
    """What posts waited, from their time in the schedule until a read-committed consumer had the label."""

    share: float
    """Of the capacity."""
    posts_per_s: float
    posts: int
    lost: int
    p50_ms: float
    p99_ms: float
    p999_ms: float
    worst_ms: float


class Found(msgspec.Struct, frozen=True):
    """What a run gave."""

    slo_ms: float | None
    capacity: float
    """Posts per second while more are sent than the worker can label."""
    loads: list[Waits]


@dataclass(frozen=True)
class Load:
    """Posts at a rate."""

    texts: Sequence[str]
    rate: float
    seconds: float


def run(
    texts: Sequence[str],
    shares: Sequence[float],
    *,
    settings: Settings,
    seconds: float,
    bootstrap: str | None,
    capacity_posts: int,
) -> Found:
    """Measure the capacity of one worker while it is sent too much, then what posts wait at shares of it.

    Args:
        texts: Posts; used again from the beginning where they do not suffice.
        shares: Of the capacity, each a load of its own.
        settings: Of the worker: its model and its batches, the promise (`batch.slo_ms`) among them.
        seconds: How long each load lasts.
        bootstrap: Kafka to use; None starts one.
        capacity_posts: Posts of the backlog.

    Raises:
        DependencyError: The worker or Kafka failed.
    """
    with (
        kafka(bootstrap, enduring=False) as servers,
        tempfile.TemporaryDirectory(prefix="moodstream-bench-") as logs,
    ):
        topic = f"bench-{time.time_ns()}"
        preload(servers, topic, texts, capacity_posts)
        system = System(
            "moodstream", ["-m", "worker", "worker"], worker_environment(settings), capacity_posts
        )
        with started(system, servers, topic, Path(logs)) as at:
            capacity = capacity_beside(at, texts, servers, topic, backlog=capacity_posts, seconds=seconds)
            loads = [
                waits(share, *answered(at, Load(texts, share * capacity, seconds), servers, topic))
                for share in track(shares, console=Console(stderr=True), description="measuring")
            ]
    return Found(settings.batch.slo_ms, round(capacity, 1), loads)


def capacity_beside(
    at: Started, texts: Sequence[str], servers: str, topic: str, *, backlog: int, seconds: float
) -> float:
    """Posts per second that a worker labels while more are sent, sender and reader beside it.

    Args:
        at: The worker, at the beginning of its backlog.
        texts: Posts to send.
        servers: Kafka.
        topic: That the worker reads.
        backlog: Posts in it: how fast it works these off says how many to send.
        seconds: How long to send.
    """
    alone = slope(at.committed, backlog, at_most_s=20.0)
    at.await_committed(backlog, _PATIENCE_S)
    return throughput(*answered(at, Load(texts, _OVERLOAD * alone, seconds), servers, topic))


def schedule(load: Load) -> NDArray[np.float64]:
    """(n,) seconds from the start at which posts are due: exponential gaps, the same ones in every run."""
    gaps = np.random.default_rng(0).exponential(1 / load.rate, max(1, int(load.rate * load.seconds)))
    return np.cumsum(gaps)


def throughput(due: NDArray[np.float64], arrived: NDArray[np.float64]) -> float:
    """Labels per second while posts were still sent, the warm-up left out.

    Args:
        due: (n,) when posts were due, rising.
        arrived: (n,) when their labels arrived.
    """
    start, end = due[int(len(due) * _WARM_UP_SHARE)], due[-1]
    return float(np.count_nonzero((arrived > start) & (arrived <= end)) / (end - start))


def waits(share: float, due: NDArray[np.float64], arrived: NDArray[np.float64]) -> Waits:
    """What the posts of a load waited, those of the warm-up left out.

    Args:
        share: Of the capacity.
        due: (n,) when posts were due, rising.
        arrived: (n,) when their labels arrived; infinite where none did.

    Raises:
        DependencyError: No post was answered.
    """
    counted = slice(int(len(due) * _WARM_UP_SHARE), None)
    all_waits = (arrived - due)[counted]
    answered = all_waits[np.isfinite(all_waits)]
    if not len(answered):
        raise DependencyError("the worker", f"answered no post of the load at {share:.0%} of its capacity")
    p50, p99, p999 = 1000 * np.quantile(answered, [0.5, 0.99, 0.999])
    return Waits(
        share=share,
        posts_per_s=round(len(due) / float(due[-1] - due[0]), 1) if len(due) > 1 else 0.0,
        posts=len(all_waits),
        lost=len(all_waits) - len(answered),
        p50_ms=round(float(p50), 1),
        p99_ms=round(float(p99), 1),
        p999_ms=round(float(p999), 1),
        worst_ms=round(float(1000 * answered.max()), 1),
    )


def answered(
    at: Started, load: Load, servers: str, topic: str
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Send a load; (n,) when each post was due and (n,) when its label arrived, in monotonic seconds."""
    due = schedule(load)
    name = str(time.time_ns())
    reader = Reader(servers, at.out, name, len(due))
    due = due + reader.start()
    send(servers, topic, name, load.texts, due)
    return due, reader.finish(_PATIENCE_S)


def send(servers: str, topic: str, name: str, texts: Sequence[str], due: NDArray[np.float64]) -> None:
    """Send post i, with `name/i` as its id, at its time; `due` in monotonic seconds."""
    producer = Producer({"bootstrap.servers": servers})  # lingers 5 ms, as clients do by default
    for index, at in enumerate(due.tolist()):
        while (wait_s := at - time.monotonic()) > 0:
            producer.poll(min(wait_s, 0.05))
        post = {"id": f"{name}/{index}", "text": texts[index % len(texts)], "source": "bench"}
        value = msgspec.json.encode(post)
        producer.produce(topic, value, str(index).encode())
    if producer.flush(_PATIENCE_S):
        raise DependencyError("kafka", f"did not take the posts within {_PATIENCE_S:.0f} s")


class Reader:
    """Notes when the label of each post of a load arrives, in a thread of its own."""

    def __init__(self, servers: str, topic: str, name: str, posts: int) -> None:
        self._name = name
        self._arrived = np.full(posts, np.inf)
        self.models: list[str] = [""] * posts
        """Which model answered each post."""
        self.doubled = 0
        """Labels beyond the first of a post."""
        self._left = posts
        self._ready, self._stop = threading.Event(), threading.Event()
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": f"{topic}-reader-{time.time_ns()}",
                "auto.offset.reset": "latest",
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "fetch.wait.max.ms": 100,
            }
        )
        self._consumer.subscribe([topic], on_assign=lambda *_: self._ready.set())
        self._thread = threading.Thread(target=self._read, name="reader", daemon=True)

    def start(self) -> float:
        """Wait until it reads; the time from which the schedule counts, in monotonic seconds."""
        self._thread.start()
        if not self._ready.wait(_PATIENCE_S):
            raise DependencyError("kafka", "did not let the benchmark read the labels")
        return time.monotonic() + 1.0  # the first fetch fixes where `latest` is

    def finish(self, within_s: float) -> NDArray[np.float64]:
        """(posts,) when each label arrived, in monotonic seconds; infinite where it did not."""
        deadline = time.monotonic() + within_s
        while self._left > 0 and time.monotonic() < deadline:
            time.sleep(0.05)
        self._stop.set()
        self._thread.join()
        self._consumer.close()
        return self._arrived

    def _read(self) -> None:
        decode = msgspec.json.Decoder(_Label).decode
        while not self._stop.is_set():
            came = self._consumer.consume(1, _IDLE_S)  # a call for more waits until it has so many
            came += self._consumer.consume(_BATCH, 0.0)
            for message in came:
                if message.error() is None and message.value():
                    self._note(decode(message.value() or b""))

    def _note(self, label: _Label) -> None:
        name, _, index = str(label.id).partition("/")
        if name != self._name:
            return
        post = int(index)
        if np.isfinite(self._arrived[post]):
            self.doubled += 1
            return
        self._arrived[post] = time.monotonic()
        self.models[post] = label.model
        self._left -= 1


class _Label(msgspec.Struct):
    """Of a label, what matters here."""

    id: int | str
    model: str
