"""A real Apache Kafka: one process, broker and controller (KRaft), made from its Maven artefacts.

Needs Java 17 and, the first time, Maven; the 46 jars (44 MB) then stay in a cache folder.
"""

from __future__ import annotations

import base64
import fcntl
import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import resources
from pathlib import Path
from typing import ClassVar

from worker.errors import DependencyError
from worker.local.processes import HOST, ChildProcess, free_port
from worker.local.server import LocalServer

VERSION = "4.3.0"
CACHE_VARIABLE = "MOODSTREAM_CACHE"

_STARTED = "Kafka Server started"
_SHORT_LIVED = ("-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC")
"""No second compiler: it takes most of a core for the first minute, from whatever shares the machine."""
_DOWNLOAD_S = 300
_FORMAT_S = 60


def available() -> str | None:
    """What is missing for a real Kafka and how to get it; `None` where nothing is."""
    if shutil.which("java") is None:
        return "Apache Kafka needs Java 17 or later: apt-get install default-jre-headless maven"
    if shutil.which("mvn") is None and not cache().is_dir():
        return "Apache Kafka is fetched with Maven the first time: apt-get install maven"
    return None


def cache() -> Path:
    """Where the jars are kept: below `$MOODSTREAM_CACHE`, else below ~/.cache/moodstream."""
    given = os.environ.get(CACHE_VARIABLE)
    root = Path(given) if given else Path.home() / ".cache" / "moodstream"
    return root / f"kafka-{VERSION}"


def libraries() -> Path:
    """The folder of Kafka's jars; fetched with Maven the first time.

    Several processes may come here at once: the first fetches, and the others wait for it, because Maven's
    own store is not for two that fetch the same (one then misses the other's `.part` files).

    Raises:
        DependencyError: Java or Maven is missing, or Maven failed.
    """
    target = cache()
    if target.is_dir():
        return target
    missing = available()
    if missing is not None:
        raise DependencyError("Apache Kafka", missing)
    target.parent.mkdir(parents=True, exist_ok=True)
    with _alone_in(target.parent):
        if not target.is_dir():
            with tempfile.TemporaryDirectory(dir=target.parent, prefix=f"{target.name}.partial-") as scratch:
                _fetch(Path(scratch))
                (Path(scratch) / "jars").rename(target)
    return target


@contextmanager
def _alone_in(folder: Path) -> Iterator[None]:
    """Wait until no other process is in here with the same folder."""
    turn = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(turn, fcntl.LOCK_EX)
        yield
    finally:
        os.close(turn)


def _fetch(folder: Path) -> None:
    pom = resources.files("worker.local").joinpath("kafka-pom.xml").read_text(encoding="utf-8")
    (folder / "pom.xml").write_text(pom.replace("${kafka.version}", VERSION), encoding="utf-8")
    goal = ["dependency:copy-dependencies", "-DoutputDirectory=jars", "-DincludeScope=runtime"]
    _run(["mvn", "--quiet", "--batch-mode", *goal], cwd=folder, within_s=_DOWNLOAD_S)


def new_cluster_id() -> str:
    """What all nodes of one cluster share; `RealKafka` draws one where it is alone."""
    return base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=").decode()


class RealKafka(LocalServer):
    """One Apache Kafka node; `properties` (the server's own, and yours on top) are written at every start.

    It starts fast and leaves the processor to others; `enduring` is slower for a minute and then faster.

    Topics must be created before use: a typing error in a topic's name should show.
    """

    name: ClassVar[str] = "kafka"
    ready_within_s: ClassVar[float] = 60.0

    def __init__(
        self,
        properties: Mapping[str, str] | None = None,
        *,
        heap: str = "512m",
        enduring: bool = False,
        cluster_id: str | None = None,
    ) -> None:
        super().__init__()
        self.heap = heap
        self.cluster_id = cluster_id or new_cluster_id()
        self.options = () if enduring else _SHORT_LIVED
        self.properties = _properties(self.port, free_port(), self.folder / "data") | dict(properties or {})

    @property
    def bootstrap(self) -> str:
        """Its `bootstrap.servers`."""
        return f"{HOST}:{self.port}"

    def _prepare(self) -> Sequence[str]:
        jars = libraries()
        (self.folder / "log4j2.properties").write_text(_LOG4J2)
        lines = [f"{name}={value}" for name, value in self.properties.items()]
        (self.folder / "server.properties").write_text("\n".join(lines) + "\n")
        java = ["java", "-Dlog4j2.configurationFile=log4j2.properties", "-cp", f"{jars}/*"]
        if not Path(self.properties["log.dirs"]).exists():
            self._format(java)
        return [*java[:1], f"-Xmx{self.heap}", *self.options, *java[1:], "kafka.Kafka", "server.properties"]

    def _format(self, java: Sequence[str]) -> None:
        # One argument each, since one id in 64 begins with a dash.
        tool = [
            "kafka.tools.StorageTool",
            "format",
            f"--cluster-id={self.cluster_id}",
            "--config=server.properties",
        ]
        _run([*java, *tool], cwd=self.folder, within_s=_FORMAT_S)

    def _ready(self, process: ChildProcess) -> bool:
        return _STARTED in process.output()


def _run(command: Sequence[str], *, cwd: Path, within_s: float) -> None:
    try:
        done = subprocess.run(
            command, cwd=cwd, timeout=within_s, capture_output=True, text=True, check=False,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DependencyError("Apache Kafka", f"{command[0]} failed: {error}") from error
    if done.returncode != 0:
        said = (done.stdout + done.stderr).strip()[-1500:]
        raise DependencyError("Apache Kafka", f"{' '.join(command)} failed:\n{said}")


def _properties(port: int, controller_port: int, data: Path) -> dict[str, str]:
    return {
        "process.roles": "broker,controller",
        "node.id": "1",
        "controller.quorum.voters": f"1@{HOST}:{controller_port}",
        "controller.listener.names": "CONTROLLER",
        "listeners": f"PLAINTEXT://{HOST}:{port},CONTROLLER://{HOST}:{controller_port}",
        "log.dirs": str(data),
        "auto.create.topics.enable": "false",
        "message.max.bytes": str(4 * 1024 * 1024),
        # One node: nothing to replicate to, nobody to wait for.
        "offsets.topic.replication.factor": "1",
        "offsets.topic.num.partitions": "4",
        "transaction.state.log.replication.factor": "1",
        "transaction.state.log.min.isr": "1",
        "transaction.state.log.num.partitions": "4",
        "share.coordinator.state.topic.replication.factor": "1",
        "share.coordinator.state.topic.min.isr": "1",
        "group.initial.rebalance.delay.ms": "0",
        # A killed node may register again only once its last session has run out: 9 s by default.
        "broker.session.timeout.ms": "3000",
        "broker.heartbeat.interval.ms": "500",
    }


_LOG4J2 = """\
appender.out.type=Console
appender.out.name=out
appender.out.layout.type=PatternLayout
appender.out.layout.pattern=%d{ISO8601} %p %c{1}: %m%n
rootLogger.level=warn
rootLogger.appenderRef.out.ref=out
logger.started.name=kafka.server.KafkaRaftServer
logger.started.level=info
"""
