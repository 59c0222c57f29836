"""The processes under test: three brokers, Redis, three workers and a guest, two trends."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from tests.chaos.disk import SmallDisk
from tests.chaos.evidence import keep_files, keep_labels
from tests.chaos.process import CLOCK
from tests.chaos.schedule import BROKERS, GUEST, REDIS, TRENDS, WORKERS
from tests.support.network import Link, Network, Weather
from tests.support.roles import RoleProcess
from tests.support.small_model import write_small_model
from worker.local.kafka_cluster import KafkaCluster
from worker.local.processes import HOST
from worker.local.redis import RealRedis
from worker.settings import KafkaSettings, RedisSettings, Settings, TopicSettings, TrendsSettings
from worker.topics.admin import create

SESSION_S = 6.0
"""Of both groups: the shortest that a broker allows by default."""
TRANSACTION_S = 5.0
EARLY_HOURS = 1
"""Less than clocks step by, so that some labels lie outside the horizon."""
PARTITIONS = 6
_BROKER = {
    "transaction.abort.timed.out.transaction.cleanup.interval.ms": "1000",
    "replica.lag.time.max.ms": "10000",
    "replica.fetch.wait.max.ms": "100",
    "num.io.threads": "4",
    "log.flush.offset.checkpoint.interval.ms": "10000",
}


class Options(NamedTuple):
    """What a run may choose about the system."""

    model: str = "small"
    """`small`, `bundled` or `null`."""
    group_protocol: str = "classic"
    worker_module: str = "tests.chaos.process"
    """Other ones are broken on purpose (`mutants`)."""
    trends_module: str = "tests.chaos.process"
    disk: bool = True
    redis_delay_s: float = 0.0
    """Of the links between trends and Redis at all times."""
    workers: int = 3
    """Started at once; the others, the guest among them, are there to be started."""
    fixed_names: bool = True
    """Whether one of three workers has a name that stays, and with it static membership."""


class Role:
    """One of our processes, with its links and its clock."""

    def __init__(
        self,
        name: str,
        log: Path,
        environment: dict[str, str],
        module: str,
        links: Mapping[str, Link],
        clock: Path,
    ) -> None:
        self.name = name
        self.environment = environment
        self.module = module
        self.links = links
        """By the process at the other end."""
        kind = name.partition("-")[0]
        self.process = RoleProcess(
            "trends" if kind == "trends" else "worker", log, environment, module=module
        )
        self.lock = threading.RLock()
        """Held by whoever does something to it."""
        self._clock = clock
        self.step(0)

    def step(self, seconds: float) -> None:
        """From now on its wall clock is off by so much."""
        new = self._clock.with_suffix(".new")
        new.write_text(f"{seconds:.3f}")
        new.replace(self._clock)


class System:
    """All of it. `with System(folder, options) as system:` starts everything but the guest."""

    def __init__(self, folder: Path, options: Options) -> None:
        self.options = options
        self.folder = folder
        self.network = Network()
        self.redis = RealRedis({"appendfsync": "everysec"}, aof=True)
        self.redis_lock = threading.RLock()
        self.roles: dict[str, Role] = {}
        self.disk: SmallDisk | None = None
        self._closing = ExitStack()

    @property
    def settings(self) -> Settings:
        """Of one that goes straight to the servers."""
        return Settings(
            kafka=KafkaSettings(bootstrap_servers=self.cluster.bootstrap),
            topics=TopicSettings(partitions=PARTITIONS, replication_factor=3, min_insync_replicas=2),
            redis=RedisSettings(url=self.redis.url),
            trends=TrendsSettings(early_hours=EARLY_HOURS),
        )

    def evidence(self, folder: Path) -> list[Path]:
        """Write down what a broken promise can be looked into with, while Kafka still has it."""
        topics = self.settings.topics
        data = {
            name: Path(node.properties["log.dirs"]) for name, node in zip(BROKERS, self.cluster, strict=True)
        }
        outputs = (*topics.inputs, topics.labels, topics.dead_letters)
        return [keep_labels(self.settings, folder), keep_files(data, outputs, folder)]

    def pid(self, name: str) -> int | None:
        """Of any process under test."""
        if name == REDIS:
            return self.redis.pid
        if name in BROKERS:
            return self.cluster.nodes[BROKERS.index(name)].pid
        return self.roles[name].process.pid

    def signal(self, name: str, number: signal.Signals) -> bool:
        """Send a signal; false where the process is not there."""
        pid = self.pid(name)
        if pid is None:
            return False
        os.kill(pid, number)
        return True

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._closing.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def _start(self) -> None:
        self._closing.enter_context(self.network)
        self._closing.enter_context(self.redis)
        self.cluster = self._cluster()
        self._closing.callback(self.cluster.close)
        if self.options.disk:
            node = self.cluster.nodes[2]
            self.disk = SmallDisk(node.folder / "disk")
            self._closing.callback(self.disk.close)
            self._closing.callback(node.kill)
            node.properties["log.dirs"] = str(node.folder / "disk" / "data")
        self.cluster.start()
        create(self.settings)
        model = write_small_model(self.folder / "model").path if self.options.model == "small" else None
        for name in (*WORKERS, *TRENDS, GUEST):
            self.roles[name] = role = self._role(name, model)
            self._closing.callback(role.process.kill)
        for name in (*WORKERS[: self.options.workers], *TRENDS):
            self.roles[name].process.start()

    def _cluster(self) -> KafkaCluster:
        doors: dict[str, list[int]] = {}
        self._broker_links: dict[str, list[Link]] = {}
        for name in (*WORKERS, *TRENDS, GUEST):
            self._broker_links[name] = [self.network.link(0) for _ in BROKERS]
            doors[_door(name)] = [link.port for link in self._broker_links[name]]
        cluster = KafkaCluster(len(BROKERS), doors=doors, properties=_BROKER)
        for name, links in self._broker_links.items():
            for number, link in enumerate(links):
                link.target_port = cluster.port(_door(name), number)
        return cluster

    def _role(self, name: str, model: Path | None) -> Role:
        links = dict(zip(BROKERS, self._broker_links[name], strict=True))
        role = "trends" if name in TRENDS else "worker"
        if role == "trends":
            links[REDIS] = self.network.link(self.redis.port, Weather(delay_s=self.options.redis_delay_s))
        clock = self.folder / f"{name}.clock"
        environment = {
            **self._common(name, links),
            **(self._of_trends(links) if role == "trends" else self._of_worker(name, model)),
            CLOCK: str(clock),
        }
        module = self.options.trends_module if role == "trends" else self.options.worker_module
        return Role(name, self.folder / f"{name}.log", environment, module, links, clock)

    def _common(self, name: str, links: Mapping[str, Link]) -> dict[str, str]:
        return {
            "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": ",".join(f"{HOST}:{links[b].port}" for b in BROKERS),
            "MOODSTREAM_LOG__FORMAT": "json",
            "OMP_NUM_THREADS": "1",
        }

    def _of_worker(self, name: str, model: Path | None) -> dict[str, str]:
        chosen = {
            "MOODSTREAM_WORKER__SESSION_TIMEOUT_MS": f"{SESSION_S * 1000:.0f}",
            "MOODSTREAM_WORKER__TRANSACTION_TIMEOUT_MS": f"{TRANSACTION_S * 1000:.0f}",
            "MOODSTREAM_WORKER__GROUP_PROTOCOL": self.options.group_protocol,
            "MOODSTREAM_BATCH__MAX_RECORDS": "200",
            "MOODSTREAM_BATCH__LINGER_MS": "50",
            "MOODSTREAM_MODEL__STREAMS": "1",
        }
        if self.options.fixed_names and name == WORKERS[2]:
            chosen["MOODSTREAM_WORKER__INSTANCE_ID"] = name
        if model is not None:
            chosen["MOODSTREAM_MODEL__PATH"] = str(model)
        if self.options.model == "null":
            chosen["MOODSTREAM_MODEL__BACKEND"] = "null"
        return chosen

    def _of_trends(self, links: Mapping[str, Link]) -> dict[str, str]:
        return {
            "MOODSTREAM_TRENDS__SESSION_TIMEOUT_MS": f"{SESSION_S * 1000:.0f}",
            "MOODSTREAM_TRENDS__MAX_RECORDS": "500",
            "MOODSTREAM_TRENDS__EARLY_HOURS": str(EARLY_HOURS),
            "MOODSTREAM_REDIS__URL": f"redis://{HOST}:{links[REDIS].port}/0",
            "MOODSTREAM_REDIS__TIMEOUT_S": "2",
        }


def _door(name: str) -> str:
    return name.replace("-", "").upper()
