"""`moodstream classify --engine spark INPUT OUTPUT`: a folder of Parquet becomes one of labels."""

from __future__ import annotations

import os
import re
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple

import click
import msgspec

from worker.cluster.job import BATCH_ROWS, require
from worker.cluster.spark import NEEDED, with_settings
from worker.errors import ConfigurationError, MoodstreamError
from worker.settings import Settings

_OURS = {
    "spark.app.name": "moodstream classify",
    "spark.sql.execution.arrow.maxRecordsPerBatch": str(BATCH_ROWS),
    "spark.sql.execution.arrow.maxBytesPerBatch": str(64 * 1024 * 1024),  # where posts are whole books
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",  # what others read, with a time zone
    "spark.ui.enabled": "false",  # it would listen on every address
}
_ALONE = {
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.driver.host": "127.0.0.1",
    # It hands rows on, and would take the model's cores for compiling itself well: 24 s of processor time
    # before and around 1,000 posts, 15 with the first compiler alone.
    "spark.driver.extraJavaOptions": "-XX:TieredStopAtLevel=1",
}
"""Where all is on this machine."""

_HINTS = {
    "PATH_ALREADY_EXISTS": "; --overwrite replaces it",
    "JAVA_GATEWAY_EXITED": "; it needs a Java, 17 or later",
}
"""What to do, by Spark's name of what is wrong."""


class Order(NamedTuple):
    """What the command line asks for."""

    source: str
    target: str
    text_column: str
    others: tuple[str, ...]
    master: str
    conf: Mapping[str, str]
    partitions: int | None
    overwrite: bool
    as_json: bool


class Done(NamedTuple):
    """How many rows were written, and how many of them without a label."""

    rows: int
    labelled: int
    errors: int
    output: str


class EngineError(MoodstreamError):
    """Spark gave up. Its own log says more."""


def run(settings: Settings, order: Order) -> None:
    """Label and say what was done.

    Raises:
        ConfigurationError: a package, a path, a column or a setting is wrong.
        EngineError: the job failed; nothing was written to the output that a reader takes for whole.
    """
    require("spark", *NEEDED)
    # It speaks of frames of pandas, of which none is made here.
    warnings.filterwarnings("ignore", "PySpark does not yet fully support pandas", FutureWarning)
    with _told(), _session(order) as session:
        done = _label(session, settings, order)
    if order.as_json:
        click.echo(msgspec.json.encode(done._asdict()))
    else:
        click.echo(f"{done.rows} rows, {done.labelled} labelled, {done.errors} with an error: {done.output}")


def _label(session: Any, settings: Settings, order: Order) -> Done:
    from pyspark.sql import Observation
    from pyspark.sql import functions as f

    posts = session.read.parquet(order.source)
    if order.partitions is not None:
        posts = posts.repartition(order.partitions)
    labels = with_settings(posts, settings, text_column=order.text_column, others=order.others)
    counted = Observation("written")
    labels = labels.observe(counted, f.count(f.lit(1)).alias("rows"), f.count(f.col("error")).alias("errors"))
    labels.write.mode("overwrite" if order.overwrite else "errorifexists").parquet(order.target)
    rows, errors = counted.get["rows"], counted.get["errors"]
    return Done(rows, rows - errors, errors, order.target)


@contextmanager
def _session(order: Order) -> Iterator[Any]:
    """Spark, ended afterwards."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder.master(order.master)
    alone: dict[str, str] = {}
    if order.master.startswith("local"):
        alone = _ALONE
        os.environ.setdefault("SPARK_LOCAL_IP", "127.0.0.1")
        os.environ.setdefault("PYSPARK_PYTHON", sys.executable)  # not whatever `python3` is
    watched = {"spark.ui.showConsoleProgress": str(sys.stderr.isatty()).lower()}
    for name, value in (_OURS | alone | watched | dict(order.conf)).items():
        builder = builder.config(name, value)
    session = builder.getOrCreate()
    try:
        yield session
    finally:
        session.stop()


@contextmanager
def _told() -> Iterator[None]:
    """Spark's errors in ours, whose messages say what to do."""
    from py4j.protocol import Py4JError
    from pyspark.errors import AnalysisException, PySparkException

    try:
        yield
    except AnalysisException as error:
        raise ConfigurationError([_first(error) + _hint(error)]) from error
    except (PySparkException, Py4JError) as error:
        raise EngineError(f"Spark could not do it: {_cause(error)}{_hint(error)}") from error


def _hint(error: Exception) -> str:
    return next((hint for condition, hint in _HINTS.items() if condition in _first(error)), "")


def _first(error: Exception) -> str:
    return str(error).partition("\n")[0]


def _cause(error: Exception) -> str:
    """What a process of ours said that ended the job, else Spark's own first line."""
    ours = re.search(r"^(?:[\w.]+: )?worker\.errors\.\w+: (.+)$", str(error), re.MULTILINE)
    return _first(error) if ours is None else ours[1].strip()
