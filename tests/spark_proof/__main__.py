"""`python -m tests.spark_proof`: on a Spark and a Ray that run on this machine and end with it."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import msgspec

from tests.spark_proof.run import Given, run
from worker.bench.texts import read_texts
from worker.cluster.job import require
from worker.cluster.spark import NEEDED


@click.command()
@click.option(
    "--texts",
    type=click.Path(exists=True, path_type=Path),
    help="Posts, a line each, taken in turns; else the demo's.",
)
@click.option("--records", default=100_000, show_default=True, type=click.IntRange(min=1000))
@click.option(
    "--cores", default=2, show_default=True, type=click.IntRange(min=1), help="Of Spark's local[N]."
)
@click.option(
    "--at-least",
    default=0.8,
    show_default=True,
    type=click.FloatRange(min=0),
    help="Of the speed of `moodstream classify`; 0 where the machine has other work.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def main(*, texts: Path | None, records: int, cores: int, at_least: float, as_json: bool) -> None:
    """Label posts in Parquet with Spark, with Ray, and with `moodstream classify`, and compare.

    Exit code 1 where labels differ, a process loads a model twice, an output is touched that should not be,
    or Spark is too slow.
    """
    require("spark", *NEEDED)
    require("ray", "ray")
    with tempfile.TemporaryDirectory(prefix="moodstream-spark-proof-") as folder:
        found = run(Given(read_texts(texts), records, cores), Path(folder))
    line = msgspec.json.encode(found)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))
    if not found.good(at_least):
        click.secho("not as promised", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
