"""Spark: a data frame of posts becomes one of labels. Import it into a job or a notebook of your own.

from worker.cluster.spark import labelled

labels = labelled(spark.read.parquet("posts"), text_column="text", keep=["created_at"])
labels.write.parquet("labels")

Spark starts a Python process a core and keeps it (`spark.python.worker.reuse`), so that each opens the model
once. Only a path and an identity travel to it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from worker.cluster.job import ADDED_DDL, Job, flags_of, job_of, require, wanted_by
from worker.configuration import load
from worker.settings import Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from pyspark.sql import DataFrame

NEEDED = ("pyspark", "pyarrow", "pandas")
"""Packages of the extra. pandas is not used here, but PySpark asks for it before it takes any function."""


def labelled(
    frame: DataFrame,
    *,
    text_column: str = "text",
    id_column: str | None = "id",
    keep: Sequence[str] = (),
    model: str | PathLike[str] | None = None,
    **settings: str,
) -> DataFrame:
    """The ids, what is kept, and `label`, `score`, `scores`, `neutral`, `model` and `error` of each row.

    Nothing runs before Spark is asked for the result.

    Args:
        frame: The posts.
        text_column: Its column to label: text, or bytes in UTF-8.
        id_column: A column that goes along; None: there is none.
        keep: Others that go along.
        model: The folder of an artefact, where every machine finds it: an absolute path, or the name of an
            archive (`spark.archives`). None: as the settings say, else the bundled one.
        settings: As for `worker.labeller.Labeller`.

    Raises:
        ConfigurationError: a package, a column or a setting is wrong.
        ArtifactError: the model cannot be loaded.
    """
    others = (*(() if id_column is None else (id_column,)), *keep)
    return with_settings(frame, load(flags_of(model, settings)), text_column=text_column, others=others)


def with_settings(
    frame: DataFrame, settings: Settings, *, text_column: str, others: Sequence[str]
) -> DataFrame:
    """As `labelled`, of settings that are read."""
    require("spark", *NEEDED)
    from pyspark.sql.types import StructType

    path = settings.model.path
    wanted = wanted_by(settings, None if path is None else placed(str(path)))
    job = job_of(wanted, frame.columns, text=text_column, others=others)
    schema = StructType([*(frame.schema[name] for name in job.kept), *StructType.fromDDL(ADDED_DDL)])
    read = frame.select(*("`{}`".format(name.replace("`", "``")) for name in job.read))
    return read.mapInArrow(partial(label_partition, job), schema)


def label_partition(job: Job, batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """What runs in Spark's Python processes."""
    from worker.cluster.table import label_batches

    wanted = job.wanted
    if wanted.path is not None:
        wanted = msgspec.structs.replace(wanted, path=str(placed(wanted.path)))
    return label_batches(msgspec.structs.replace(job, wanted=wanted), batches)


def placed(path: str) -> Path:
    """Where a folder lies on this machine: as it is named, else among what Spark has unpacked here."""
    from pyspark import SparkFiles

    folder = Path(path)
    return folder if folder.is_dir() else Path(SparkFiles.get(path))
