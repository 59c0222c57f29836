"""Posts in Parquet, and the commands as a person gives them."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import cycle, islice
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from tests.spark_proof.compare import Compared, compared
from tests.spark_proof.inside import label_with_ray, refuses_another_model
from tests.spark_proof.watch import Loads, Watch
from tests.support.artifacts import variant
from tests.support.waiting import eventually

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
TASKS = 4
"""For each core, at least: a process that opened the model for every task would be found out."""
BAD = ("", " \t ", None)
"""Every 500th post has one of these for a text, in turns."""
FEW = 1000
"""Posts where it is not about speed."""
_EACH_FILE = ("--spark-conf", "spark.sql.files.maxPartitionBytes=1m")
"""A task each; Spark would put small ones together."""


class Given(NamedTuple):
    """What is labelled, and on how many cores."""

    texts: list[str]
    records: int
    cores: int


class Found(msgspec.Struct, frozen=True):
    """What came of it."""

    classify_s: float
    """The whole command, its start included."""
    spark_s: float
    """The same with Spark."""
    speed: float
    """Spark's, as a share of the other."""
    cores: int
    spark: Compared
    spark_loads: Loads
    counted: bool
    """Whether the command told how many rows and errors it wrote."""
    refused: bool
    """Whether a second run into the same folder was refused, and nothing in it has changed."""
    killed: bool
    """Whether a run that was killed left no label behind, and could be done again."""
    archived: bool
    """Whether another model reached the processes as an archive, and answered."""
    another: bool
    """Whether a model that is another one for the processes than for the driver was refused."""
    ray: Compared
    ray_loads: Loads

    def good(self, at_least: float) -> bool:
        """Whether all is as promised."""
        same = self.spark.good and self.ray.good
        once = self.spark_loads.good(self.cores) and self.ray_loads.good(self.cores)
        safe = self.counted and self.refused and self.killed and self.archived and self.another
        return same and once and safe and self.speed >= at_least


class Posts(NamedTuple):
    """The same posts as a table and as lines."""

    table: Path
    lines: Path
    at: list[datetime]


class Commands:
    """`moodstream classify`, watched."""

    def __init__(self, watch: Watch, cores: int, folder: Path) -> None:
        self._watch = watch
        self._cores = cores
        self._folder = folder

    def lines(self, posts: Posts) -> list[dict[str, Any]]:
        """The answers to lines."""
        answers = posts.lines.with_suffix(".answers")
        with answers.open("wb") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker", "classify", "--json", str(posts.lines)],
                env=self._watch.environment,
                stdout=out,
            )
            assert process.wait() == 0
        return [msgspec.json.decode(line) for line in answers.read_bytes().splitlines()]

    def start(self, posts: Posts, labels: Path, *more: str) -> subprocess.Popen[str]:
        """The same by Spark, begun."""
        where = ("--engine", "spark", str(posts.table), str(labels), "--master", f"local[{self._cores}]")
        return subprocess.Popen(
            [
                sys.executable,
                "-m",
                "worker",
                "classify",
                "--json",
                *where,
                *_EACH_FILE,
                "--keep",
                "at",
                *more,
            ],
            env=self._watch.environment,
            cwd=self._folder,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def spark(self, posts: Posts, labels: Path, *more: str) -> Any:
        """The same, to its end: the line that it tells."""
        process = self.start(posts, labels, *more)
        told, log = process.communicate()
        assert process.returncode == 0, log
        return msgspec.json.decode(told.splitlines()[-1])


def run(given: Given, folder: Path) -> Found:
    """Do it."""
    watch = Watch(folder / "watch")
    commands = Commands(watch, given.cores, folder)
    posts = _write(given.texts, given.records, folder / "posts", cores=given.cores)
    few = _write(given.texts, FEW, folder / "few", cores=given.cores)
    with _timed("classify") as classify:
        answers = commands.lines(posts)
    watch.taken()
    with _timed("Spark") as spark:
        told = commands.spark(posts, folder / "labels")
    spark_loads = watch.taken()
    by_spark = compared(answers, folder / "labels", at=posts.at)
    with watch.here(), _timed("Ray"):
        label_with_ray(few.table, folder / "by-ray", actors=given.cores, scratch=folder / "ray")
    ray_loads = watch.taken()
    with watch.here(), _timed("another model"):
        another = refuses_another_model(few.table, folder)
    with _timed("refused, killed, archived"):
        refused = _refused(commands, posts, folder / "labels")
        killed = _killed(commands, watch, posts, few, folder / "killed")
        archived = _archived(commands, few, folder)
    return Found(
        classify_s=round(classify[0], 1),
        spark_s=round(spark[0], 1),
        speed=round(classify[0] / spark[0], 3),
        cores=given.cores,
        spark=by_spark,
        spark_loads=spark_loads,
        counted=(told["rows"], told["errors"]) == (given.records, by_spark.errors),
        refused=refused,
        killed=killed,
        archived=archived,
        another=another,
        ray=compared(answers[:FEW], folder / "by-ray", at=few.at),
        ray_loads=ray_loads,
    )


def _write(texts: list[str], records: int, at: Path, *, cores: int) -> Posts:
    """The table and the lines.

    Files end elsewhere than the loop's batches of lines do: an answer must not depend on its neighbours.
    """
    numbered = list(enumerate(islice(cycle(texts), records)))
    posts = [
        {"id": number, "text": BAD[number // 500 % 3] if number % 500 == 499 else text}
        for number, text in numbered
    ]
    when = [NOON + timedelta(seconds=number) for number in range(records)]
    table = pa.Table.from_pylist(posts).append_column("at", pa.array(when))
    at.mkdir()
    rows = -(-records // (TASKS * cores))
    for number, start in enumerate(range(0, records, rows)):
        pq.write_table(table.slice(start, rows), at / f"part-{number:03}.parquet")
    lines = at.with_suffix(".jsonl")
    known = ({name: value for name, value in post.items() if value is not None} for post in posts)
    lines.write_bytes(b"\n".join(map(msgspec.json.encode, known)) + b"\n")
    return Posts(at, lines, when)


@contextmanager
def _timed(what: str) -> Iterator[list[float]]:
    """The seconds, as the only item of a list that is empty before; told to whoever waits."""
    seconds: list[float] = []
    start = time.monotonic()
    yield seconds
    seconds.append(time.monotonic() - start)
    print(f"{what}: {seconds[0]:.1f} s", file=sys.stderr, flush=True)  # noqa: T201


def _refused(commands: Commands, posts: Posts, labels: Path) -> bool:
    before = _files(labels)
    process = commands.start(posts, labels)
    _, log = process.communicate()
    return process.returncode == 2 and "--overwrite" in log and _files(labels) == before


def _files(folder: Path) -> dict[str, tuple[int, int]]:
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in found}


def _killed(commands: Commands, watch: Watch, posts: Posts, few: Posts, labels: Path) -> bool:
    watch.taken()
    process = commands.start(posts, labels)
    [*processes] = eventually(lambda: watch.processes, within_s=300)
    process.kill()
    process.communicate()
    eventually(lambda: not any(map(_lives, processes)), within_s=120)
    left = [path.name for path in labels.iterdir() if not path.name.startswith(("_", "."))]
    if left or (labels / "_SUCCESS").exists():
        return False
    told = commands.spark(few, labels, "--overwrite")
    return bool(told["rows"] == FEW == pq.read_table(labels).num_rows)


def _lives(process: int) -> bool:
    return Path(f"/proc/{process}").exists()


def _archived(commands: Commands, few: Posts, folder: Path) -> bool:
    model = variant(folder / "for-archive", name="archived")
    archive = shutil.make_archive(str(folder / "archived"), "zip", model)
    conf = f"spark.archives={archive}#there"
    commands.spark(few, folder / "by-archived", "--model", "there", "--spark-conf", conf)
    models = pq.read_table(folder / "by-archived", columns=["model"]).column("model").unique().to_pylist()
    return {str(model).partition("@")[0] for model in models if model is not None} == {"archived"}
