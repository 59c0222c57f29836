"""`python -m tests.fuzz`: a fuzz run on a Kafka of its own, or on that of KAFKA_BOOTSTRAP."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import Progress

from tests.fuzz.run import run
from tests.support.kafka import KafkaUnderTest
from worker.bench.stream import kafka


@click.command()
@click.option("--records", default=20_000, show_default=True, type=click.IntRange(min=1))
@click.option("--seed", default=1, show_default=True, help="The same seed sends the same records.")
@click.option(
    "--model",
    default="null",
    show_default=True,
    type=click.Choice(["null", "native", "openvino", "torch"]),
    help="The worker's model.backend: null is everything but the model.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def main(records: int, seed: int, model: str, as_json: bool) -> None:
    """Random and mutated records through a real worker; exit code 1 where one is lost, doubled or wrong."""
    with (
        kafka(os.environ.get("KAFKA_BOOTSTRAP")) as bootstrap,
        tempfile.TemporaryDirectory(prefix="moodstream-fuzz-") as folder,
        bar() as progress,
    ):
        found = run(
            KafkaUnderTest(bootstrap), records, seed, model=model, folder=Path(folder), progress=progress
        )
    line = msgspec.json.encode(found)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))
    if not found.good:
        click.secho(f"not as promised; the same again: --records {records} --seed {seed}", fg="red", err=True)
        sys.exit(1)


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """A bar for people; nothing where nobody is watching."""
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal) as progress:
        tasks = {}

        def told(doing: str, done: int, of: int) -> None:
            if doing not in tasks:
                tasks[doing] = progress.add_task(doing, total=of)
            progress.update(tasks[doing], completed=done)

        yield told


if __name__ == "__main__":
    main()
