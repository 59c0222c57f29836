"""`python -m tests.replay_proof`: on a Kafka of its own, or on that of KAFKA_BOOTSTRAP, and a Redis."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import click
import msgspec

from tests.replay_proof.run import Given, run
from tests.support.kafka import KafkaUnderTest
from worker.bench.stream import kafka
from worker.bench.texts import read_texts
from worker.local.redis import RealRedis


@click.command()
@click.option(
    "--gold",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="Posts with their truth, `text;label` a line; several times.",
)
@click.option(
    "--texts",
    type=click.Path(exists=True, path_type=Path),
    help="Posts without it, a line each; else the demo's.",
)
@click.option("--records", default=100_000, show_default=True, type=click.IntRange(min=1000))
@click.option("--kills", default=3, show_default=True, help="How often it is killed (SIGKILL) and resumed.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def main(*, gold: tuple[Path, ...], texts: Path | None, records: int, kills: int, as_json: bool) -> None:
    """Replay a range of posts through two models, once straight and once under kills.

    Exit code 1 where a figure is not scikit-learn's, the two differ, or something live has changed.
    """
    lines = [line.rpartition(";") for path in gold for line in path.read_text("utf-8").splitlines()]
    given = Given([(text, label) for text, _, label in lines], read_texts(texts), records, kills)
    with (
        kafka(os.environ.get("KAFKA_BOOTSTRAP")) as bootstrap,
        RealRedis() as redis,
        tempfile.TemporaryDirectory(prefix="moodstream-replay-proof-") as folder,
    ):
        found = run(given, KafkaUnderTest(bootstrap), redis, Path(folder))
    line = msgspec.json.encode(found)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))
    if not found.good:
        click.secho("not as promised", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
