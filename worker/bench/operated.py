"""A worker with a store of models and a control topic, for benchmarks that do to it what operators do."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka.admin import AdminClient, NewTopic  # type: ignore[attr-defined]  # its stubs lack them

from worker.bench.latency import capacity_beside
from worker.bench.stream import Started, System, kafka, preload, started, worker_environment
from worker.settings import Settings

PATIENCE_S = 120.0
"""For what Kafka and the worker are asked."""
_CAPACITY_S = 15.0


@dataclass(frozen=True)
class Operated:
    """A worker that has worked off its backlog and waits for posts."""

    servers: str
    topic: str
    """That it reads."""
    at: Started
    capacity: float
    """Posts per second while more are sent than it can label, sender and reader beside it."""
    settings: Settings
    """As an operator of it would set them."""


@contextmanager
def operated(
    settings: Settings,
    stocked: Callable[[Path], None],
    texts: Sequence[str],
    *,
    bootstrap: str | None,
    capacity_posts: int,
) -> Iterator[Operated]:
    """Start one, and measure its capacity.

    Args:
        settings: Of which what is said about the model and its batches is the worker's.
        stocked: Puts models into the folder that it is given, which does not exist yet.
        texts: Posts of the backlog.
        bootstrap: Kafka to use; None starts one.
        capacity_posts: How long the backlog is.

    Raises:
        DependencyError: the worker or Kafka failed.
    """
    with (
        kafka(bootstrap, enduring=False) as servers,
        tempfile.TemporaryDirectory(prefix="moodstream-bench-") as folder,
    ):
        store, run_id = Path(folder) / "store", f"bench-{time.time_ns()}"
        stocked(store)
        control = _control_topic(servers, f"{run_id}-control")
        environment = worker_environment(settings)
        environment |= {"MOODSTREAM_TOPICS__CONTROL": control, "MOODSTREAM_MODEL__STORE": str(store)}
        topic = f"{run_id}-posts"
        preload(servers, topic, texts, capacity_posts)
        system = System("moodstream", ["-m", "worker", "worker"], environment, capacity_posts)
        with started(system, servers, topic, Path(folder)) as at:
            capacity = capacity_beside(at, texts, servers, topic, backlog=capacity_posts, seconds=_CAPACITY_S)
            yield Operated(servers, topic, at, capacity, _settings(settings, servers, control, at.group))


def _control_topic(servers: str, name: str) -> str:
    admin = AdminClient({"bootstrap.servers": servers})
    admin.create_topics([NewTopic(name, 1, 1)])[name].result()
    return name


def _settings(settings: Settings, servers: str, control: str, group: str) -> Settings:
    return settings.model_copy(
        update={
            "kafka": settings.kafka.model_copy(update={"bootstrap_servers": servers}),
            "topics": settings.topics.model_copy(update={"control": control}),
            "worker": settings.worker.model_copy(update={"group_id": group}),
        }
    )
