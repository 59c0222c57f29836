"""Topics, posts, labels and the end of a worker that runs inside the image, on a real Kafka."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import yaml

from tests.image_proof import look
from tests.image_proof.builder import ROOT, Builder, stands_in_for
from tests.image_proof.container import Container, run_once
from tests.support.kafka import KafkaUnderTest
from tests.support.waiting import eventually
from worker.labeller import Labeller
from worker.local.kafka import RealKafka
from worker.local.processes import free_port
from worker.types import EMOTIONS, Label, OutRecord

LIMIT_MB = 500
_WITHIN_S = 300.0
_NEAR = 0.05
"""A model in 8 bits answers a little differently in another batch."""
_INSIDE = """
import json, os
tried = ("/new", "/etc/new", "/opt/moodstream/new", "/home/new", "/var/tmp/new", "/tmp/new")
def writes(path):
    try:
        open(path, "w").close()
    except OSError:
        return False
    return True
status = dict(line.split(":\\t", 1) for line in open("/proc/self/status") if ":\\t" in line)
print(json.dumps({
    "uid": os.getuid(), "gid": os.getgid(), "groups": os.getgroups(),
    "writes": [path for path in tried if writes(path)],
    "capabilities": int(status["CapEff"], 16) | int(status["CapBnd"], 16),
    "no_new_privileges": status["NoNewPrivs"].strip(),
}))
"""
_LOCKED = {
    "uid": 10001,
    "gid": 10001,
    "groups": [],
    "writes": ["/tmp/new"],
    "capabilities": 0,
    "no_new_privileges": "1",
}


class Given(NamedTuple):
    """What is labelled."""

    texts: list[str]
    records: int


class Found(msgspec.Struct, frozen=True):
    """What came of it."""

    base: str
    """The image that the Dockerfile names; what was built on stands in for it."""
    size_mb: float
    """All layers unpacked, the base's too (millions of bytes)."""
    base_mb: float
    """Of these the base's."""
    compressed_mb: float
    """All layers as a registry would hold them, with gzip."""
    posts: int
    labelled: int
    """Labels, each input counted once."""
    lost: int
    doubled: int
    unlike: int
    """Labels that are others outside the image, by the same model."""
    furthest: float
    """The most that a probability differs from the one outside."""
    exit_code: int | None
    """After SIGTERM."""
    faults: list[str]

    @property
    def good(self) -> bool:
        """Whether all is as promised."""
        return (
            not self.faults
            and self.size_mb < LIMIT_MB
            and self.labelled == self.posts
            and not self.lost
            and not self.doubled
            and self.furthest < _NEAR
            and self.exit_code == 0
        )


class _Labelled(NamedTuple):
    labels: list[Label]
    exit_code: int | None
    faults: list[str]


def run(given: Given, builder: Builder, folder: Path, say: Callable[[str], None]) -> Found:
    """Build it, look at it, let it label, and end it."""
    say(f"the base, which stands in for {stands_in_for()}")
    base = builder.base()
    say("the image")
    builder.build()
    say("its sizes")
    layers, of_base = builder.layers(), builder.layers(base)
    configuration = builder.configuration()
    posts = [
        {"id": f"post-{number}", "text": text, "lang": "en"}
        for number, text in enumerate(islice(cycle(given.texts), given.records))
    ]
    with builder.unpacked() as root, builder.unpacked(base) as below:
        say("what is in it")
        faults = look.faults(root, below, configuration)
        faults += _seen_from_inside(root, configuration["config"])
        say("its worker, on a real Kafka")
        with RealKafka() as kafka:
            under_test = KafkaUnderTest(kafka.bootstrap)
            labelled = _label(posts, root, configuration["config"], under_test, folder)
    expected = _outside(posts)
    times = Counter(str(label.id) for label in labelled.labels)
    return Found(
        base=stands_in_for(),
        size_mb=_mb(layer.unpacked for layer in layers),
        base_mb=_mb(layer.unpacked for layer in of_base),
        compressed_mb=_mb(layer.compressed for layer in layers),
        posts=len(posts),
        labelled=len(times.keys() & expected.keys()),
        lost=len(expected.keys() - times.keys()),
        doubled=times.total() - len(times),
        unlike=sum(label.label != expected[str(label.id)].label for label in labelled.labels),
        furthest=round(max((_apart(one, expected[str(one.id)]) for one in labelled.labels), default=1.0), 4),
        exit_code=labelled.exit_code,
        faults=faults + labelled.faults,
    )


def _seen_from_inside(root: Path, image: Mapping[str, Any]) -> list[str]:
    """What a process of it may do, and that the program is the one of this checkout."""
    faults = []
    shown = run_once(root, image, ["--version"], {})
    if shown.code != 0 or version("moodstream") not in shown.stdout:
        faults.append(f"moodstream --version: exit code {shown.code}, {shown.stdout}{shown.stderr}")
    probe = {**image, "Entrypoint": ["python", "-c"]}
    seen = run_once(root, probe, [_INSIDE], {})
    if seen.code != 0 or json.loads(seen.stdout) != _LOCKED:
        faults.append(f"inside: exit code {seen.code}, {seen.stdout}{seen.stderr}")
    return faults


def _label(
    posts: list[dict[str, str]], root: Path, image: Mapping[str, Any], kafka: KafkaUnderTest, folder: Path
) -> _Labelled:
    """The services topics and worker of docker-compose.yml; only addresses are this machine's."""
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    faults = []
    for turn in ("first", "second"):  # It may run again and again.
        made = run_once(root, image, services["topics"]["command"], _environment(services["topics"], kafka))
        if made.code != 0:
            faults.append(f"topics create, the {turn} time: exit code {made.code}, {made.stderr}")
    worker, port = services["worker"], free_port()
    environment = _environment(worker, kafka)
    checked = worker["healthcheck"]["test"][1:]
    asked = str(environment["MOODSTREAM_WORKER__HTTP__PORT"])
    health = [word.replace(f":{asked}/", f":{port}/") for word in checked]
    environment["MOODSTREAM_WORKER__HTTP__PORT"] = str(port)
    kafka.produce("tweets", [OutRecord("tweets", post["id"].encode(), _json(post)) for post in posts])
    with Container(root, image, worker["command"], environment, folder / "worker.log") as container:
        eventually(lambda: container.execute(health).code == 0, within_s=_WITHIN_S, every_s=1.0)
        eventually(lambda: len(_labels(kafka)) >= len(posts), within_s=_WITHIN_S, every_s=1.0)
        container.ask_to_end()
        eventually(lambda: container.exit_code is not None, within_s=_WITHIN_S)
        return _Labelled(_labels(kafka), container.exit_code, faults)


def _environment(service: Mapping[str, Any], kafka: KafkaUnderTest) -> dict[str, str]:
    given = {name: str(value) for name, value in service["environment"].items()}
    return given | {"MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap}


def _labels(kafka: KafkaUnderTest) -> list[Label]:
    """All that are committed."""
    records = kafka.read_all("emotion-labels")
    return [msgspec.json.decode(value, type=Label) for record in records if (value := record.value())]


def _outside(posts: list[dict[str, str]]) -> dict[str, Label]:
    """What this checkout answers, without the image; posts that get no label are left out."""
    labeller = Labeller()
    try:
        answers = labeller(post["text"] for post in posts)
    finally:
        labeller.close()
    return {post["id"]: answer for post, answer in zip(posts, answers, strict=True) if answer is not None}


def _apart(label: Label, other: Label) -> float:
    """The most that one of the seven probabilities differs by."""
    six = (abs(getattr(label.scores, name) - getattr(other.scores, name)) for name in EMOTIONS)
    return float(max(*six, abs(label.neutral - other.neutral)))


def _json(post: dict[str, str]) -> bytes:
    return msgspec.json.encode(post)


def _mb(sizes: Iterable[int]) -> float:
    return round(sum(sizes) / 1e6, 1)
