"""What the documents take for granted: servers, roles, and a folder with every file that they name."""

from __future__ import annotations

import csv
import gzip
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import msgspec
from confluent_kafka import Producer

from tests.docs_proof.exceptions import ROOT
from tests.support.kafka import read_all
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from worker.demo.posts import samples
from worker.local.kafka import RealKafka
from worker.local.redis import RealRedis
from worker.model.artifact import load, write_manifest
from worker.model.bundled import bundled_model

TOKEN = "a-token-of-the-proof"
MAY = datetime(2026, 5, 4, 18, tzinfo=UTC)
PORTS = {"trends": 8080, "quality": 8081, "worker": 9464}
"""That the documents speak of; what runs here has others."""


class Stage:
    """`with Stage(folder) as stage:` has Kafka, Redis and the files; roles come with `fill`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kafka = RealKafka()
        self._redis = RealRedis()
        self.roles: dict[str, RoleProcess] = {}
        self._closing = ExitStack()
        self._sent = 0

    def __enter__(self) -> Self:
        self._closing.enter_context(self.kafka)
        self._closing.enter_context(self._redis)
        files(self.folder)
        self.environment = {
            "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap,
            "MOODSTREAM_REDIS__URL": self._redis.url,
            "MOODSTREAM_TOPICS__REPLICATION_FACTOR": "1",
            "MOODSTREAM_TOPICS__MIN_INSYNC_REPLICAS": "1",
            "MOODSTREAM_TOPICS__PARTITIONS": "4",
            "MOODSTREAM_TOPICS__RETENTION_HOURS": "20000",  # the posts of May must not go
            "MOODSTREAM_MODEL__STORE": str(self.folder / "models"),
            "MOODSTREAM_TRENDS__HTTP__TOKEN": TOKEN,
            "MOODSTREAM_WORKER__HTTP__TOKEN": TOKEN,
            "MOODSTREAM_WORKER__CLASSIFY__ENABLED": "on",
            "TOKEN": TOKEN,
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        }
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.close()

    def fill(self) -> None:
        """Once there are topics: posts of today and of May, the roles, and all of it labelled and counted."""
        self.send("tweets", posts(400))
        self.send("feedback", [{**post, "id": f"f-{post['id']}"} for post in posts(40)])
        self.send("tweets", posts(200, MAY, "may"), written=MAY)
        self._produce("tweets", [b"{"], None)
        for name in PORTS:
            self.roles[name] = role = RoleProcess(name, self.folder / f"{name}.log", self.environment)
            self._closing.callback(role.kill)
            role.start()
        eventually(lambda: all(role.ready() for role in self.roles.values()), within_s=120)
        eventually(lambda: self.metric("worker", "moodstream_labels_total") >= 640, within_s=120)
        eventually(lambda: self.metric("trends", "moodstream_consumer_lag_records") == 0, within_s=120)

    def metric(self, role: str, name: str, **labels: str) -> float:
        return self.roles[role].metric(name, **labels)

    def begin(self) -> None:
        """A document is read by itself: no report of another one's lies there."""
        shutil.rmtree(self.folder / "runs", ignore_errors=True)

    def here(self, line: str) -> str:
        """The line with the addresses of what runs here, and something in the place of secrets."""
        for name, role in self.roles.items():
            line = line.replace(f"127.0.0.1:{PORTS[name]}", f"127.0.0.1:{role.port}")
        line = re.sub(r"\b([A-Z_]+(?:SECRET|TOKEN))=\.\.\.", rf"\1={TOKEN}", line)
        return line.replace("curl ", "curl --silent --show-error --fail-with-body ", 1)

    @contextmanager
    def without(self, role: str) -> Iterator[None]:
        """While another one runs in its place: of quality a second one would have nothing to do."""
        running = self.roles.get(role) if role == "quality" else None
        if running is None:
            yield
            return
        running.stop()
        yield
        running.start()
        eventually(running.ready, within_s=120)

    def query(self) -> None:
        """The tracked query of the documents."""
        self._asked("PUT", "/api/queries/brand", {"expression": "brand"})

    def shadowed(self, least: int) -> None:
        """The model mine@2 does not serve, and was asked about so many posts."""
        for command in (("promote", load(bundled_model()).full_name), ("shadow", "mine@2")):
            self.moodstream("model", *command)

        def enough() -> bool:
            """A few at a time: it skips posts while others wait."""
            self.send("tweets", posts(400, name=f"shadowed-{self._sent}"))
            return self._compared() >= least

        eventually(enough, within_s=300)

    def correctable(self, line: str) -> str:
        """A line that corrects a label, of one that there is."""
        labels = read_all(self.kafka.bootstrap, "emotion-labels", within_s=60)
        one = next(message for message in labels if message.value() is not None)
        identity = msgspec.json.encode(msgspec.json.decode(one.value() or b"")["id"]).decode()
        ref = f"emotion-labels/{one.partition()}/{one.offset()}"
        return line.replace("1841,", f"{identity},").replace("emotion-labels/3/1841", ref)

    def moodstream(self, *words: str) -> str:
        """What a command prints that has to go well."""
        return subprocess.run(
            [sys.executable, "-m", "worker", *words],
            env={**os.environ, **self.environment},
            cwd=self.folder,
            check=True,
            capture_output=True,
            text=True,
            timeout=180,
        ).stdout

    def send(self, topic: str, some: Sequence[dict[str, Any]], written: datetime | None = None) -> None:
        """Posts, by whatever producer."""
        self._produce(topic, [msgspec.json.encode(post) for post in some], written)

    def _produce(self, topic: str, values: Sequence[bytes], written: datetime | None) -> None:
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "enable.idempotence": True})
        at_ms = 0 if written is None else int(written.timestamp() * 1000)  # 0: now
        for value in values:
            self._sent += 1
            producer.produce(topic, value, b"%d" % self._sent, timestamp=at_ms)
        assert producer.flush(60) == 0

    def _compared(self) -> int:
        """Of how many posts the workers report that they asked the shadow; they do now and then."""
        compared = msgspec.json.decode(self.moodstream("control", "show", "--json"))["compared"]
        return compared["n"] if compared else 0

    def _asked(self, method: str, path: str, body: Any) -> None:
        httpx.request(
            method,
            f"http://127.0.0.1:{self.roles['trends'].port}{path}",
            json=body,
            headers={"Authorization": f"Bearer {TOKEN}"},
            timeout=10,
        ).raise_for_status()


def posts(n: int, since: datetime | None = None, name: str = "post") -> list[dict[str, Any]]:
    """Posts of the demo with ids `NAME-0`, ..., written at one a second since some time, or now."""
    since = since or datetime.now(UTC)
    return [
        {
            "id": f"{name}-{number}",
            "text": sample.text,
            "created_at": since + timedelta(seconds=number) * bool(name == "may"),
            "lang": "en",
            "source": "web",
            "author_id": f"author-{number % 50}",
        }
        for number, sample in enumerate(islice(cycle(samples()), n))
    ]


def files(folder: Path) -> None:
    """Everything that the documents name, under the names that they give it."""
    for name in ("DIR", "EMOTION_DIR", "GOEMOTIONS_DIR"):
        (folder / name).mkdir()
        for split in ("train", "val", "test"):
            lines = [f"{sample.text};{sample.expected}" for sample in samples() if ";" not in sample.text]
            (folder / name / f"{split}.txt").write_text("\n".join(_emotions(lines)) + "\n", encoding="utf-8")
    for model in ("MODEL_DIR", "models/mine", "models/theirs"):
        _copy(folder / model, "mine" if model != "models/theirs" else "theirs")
    _lines(folder / "posts.jsonl", posts(30, name="sent"))
    _lines(folder / "july.jsonl", posts(10, datetime(2026, 7, 4, 18, tzinfo=UTC), "may"))
    with gzip.open(folder / "dump.jsonl.gz", "wb") as dump:
        dump.write(b"\n".join(map(msgspec.json.encode, posts(30, name="dumped"))) + b"\n")
    with (folder / "gold.csv").open("w", newline="") as gold:
        rows = csv.writer(gold)
        rows.writerow(("id", "label"))
        rows.writerows(
            (f"post-{n}", sample.expected) for n, sample in enumerate(islice(cycle(samples()), 400))
        )
    with (folder / "tweets.csv").open("w", newline="") as table:
        rows = csv.writer(table)
        rows.writerow(("id", "Tweet", "user"))
        rows.writerows((f"row-{n}", sample.text, "ana") for n, sample in enumerate(samples()[:20]))
    (folder / "FILE").write_text("\n".join(sample.text for sample in samples()[:60]) + "\n", encoding="utf-8")
    (folder / "EEC_CSV").write_text("\n".join(_eec()) + "\n", encoding="utf-8")
    sources = (ROOT / "docs" / "sources.md").read_text(encoding="utf-8")
    [hooks] = re.findall(r"```toml\n(# hooks\.toml\n.*?)```", sources, re.DOTALL)
    (folder / "hooks.toml").write_text(hooks, encoding="utf-8")


def _emotions(lines: Sequence[str]) -> Iterator[str]:
    return (line for line in lines if not line.endswith(";neutral"))


def _eec() -> Iterator[str]:
    """A few sentences in the form of the Equity Evaluation Corpus."""
    yield "Sentence,Template,Person,Gender,Race,Emotion word"
    people = (
        ("She", "she", "female", ""),
        ("He", "he", "male", ""),
        ("Ebony", "Ebony", "female", "African-American"),
        ("Katie", "Katie", "female", "European"),
        ("Darnell", "Darnell", "male", "African-American"),
        ("Alan", "Alan", "male", "European"),
    )
    for word in ("angry", "glad", "scared"):
        for begin, person, gender, race in people:
            yield f"{begin} feels {word}.,<person> feels <emotion word>.,{person},{gender},{race},{word}"


def _copy(folder: Path, name: str) -> None:
    shutil.copytree(bundled_model(), folder, ignore=shutil.ignore_patterns("*.svg", "README.md"))
    write_manifest(folder, msgspec.structs.replace(load(folder).manifest, name=name, version="2"))


def _lines(path: Path, some: Sequence[dict[str, Any]]) -> None:
    path.write_bytes(b"\n".join(map(msgspec.json.encode, some)) + b"\n")
