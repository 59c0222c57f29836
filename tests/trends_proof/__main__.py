"""`python -m tests.trends_proof`: on a Kafka of its own, or on that of KAFKA_BOOTSTRAP, and a Redis."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from tests.fuzz.__main__ import bar
from tests.support.kafka import KafkaUnderTest
from tests.trends_proof.run import run
from worker.bench.stream import kafka
from worker.bench.texts import read_texts


@click.command()
@click.option(
    "--texts", type=click.Path(exists=True, path_type=Path), help="Posts, one a line; else the demo's."
)
@click.option("--records", default=200_000, show_default=True, type=click.IntRange(min=1000))
@click.option("--seed", default=1, show_default=True, help="The same seed sends the same labels.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def main(*, texts: Path | None, records: int, seed: int, as_json: bool) -> None:
    """Labels of three days through a real trends role; exit code 1 where a number is not as it should be."""
    with (
        kafka(os.environ.get("KAFKA_BOOTSTRAP")) as bootstrap,
        tempfile.TemporaryDirectory(prefix="moodstream-trends-proof-") as folder,
        bar() as progress,
    ):
        of = read_texts(texts)
        found = run(KafkaUnderTest(bootstrap), of, records, seed, folder=Path(folder), progress=progress)
    line = msgspec.json.encode(found)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))
    if not found.good:
        click.secho(f"not as promised; the same again: --records {records} --seed {seed}", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
