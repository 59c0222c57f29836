"""The functions that people call from jobs of their own, with a Spark and a Ray that this process starts."""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from tests.support.artifacts import variant


def label_with_ray(posts: Path, labels: Path, *, actors: int, scratch: Path) -> None:
    """One table into another, by a stage of Ray Data."""
    import ray

    from worker.cluster.ray import labelled

    ray.init(
        num_cpus=actors + 1,  # reading wants one too
        include_dashboard=False,
        log_to_driver=False,
        _temp_dir=str(scratch),
    )
    try:
        labelled(ray.data.read_parquet(str(posts)), actors=actors, keep=["at"]).write_parquet(str(labels))
    finally:
        ray.shutdown()


def refuses_another_model(posts: Path, folder: Path) -> bool:
    """Whether the processes of Spark refuse a folder that is not the one that the job was started with."""
    from pyspark.sql import SparkSession

    from worker.cluster.spark import labelled

    mine = variant(folder / "mine", name="mine")
    os.environ |= {"PYSPARK_PYTHON": sys.executable, "SPARK_LOCAL_IP": "127.0.0.1"}
    spark = SparkSession.builder.master("local[1]").config("spark.ui.enabled", "false").getOrCreate()
    try:
        labels = labelled(spark.read.parquet(str(posts)), model=mine)
        shutil.rmtree(mine)
        variant(mine, name="mine", version="another")
        labels.count()
    except Exception as error:
        return "copy the same folder to every machine" in str(error)
    finally:
        spark.stop()
    return False
