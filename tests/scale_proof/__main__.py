"""`python -m tests.scale_proof`. Exit code 1 where something was lost or doubled."""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import click
import msgspec

from tests.scale_proof.run import run
from worker.local import kafka as local_kafka
from worker.local import redis as local_redis


@click.command()
@click.option("--seed", type=int, default=1, show_default=True, help="Of what is sent.")
@click.option(
    "--seconds",
    type=click.FloatRange(min=5),
    default=30.0,
    show_default=True,
    help="Of each load that delays are measured at.",
)
@click.option("--keep", type=click.Path(path_type=Path), help="Keep logs of all roles in this folder.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def main(*, seed: int, seconds: float, keep: Path | None, as_json: bool) -> None:
    """Scale from one worker to four and back under load, kill one, and check what came of it."""
    missing = local_kafka.available() or local_redis.available()
    if missing is not None:
        raise click.ClickException(missing)

    def say(text: str) -> None:
        click.echo(f"{time.strftime('%H:%M:%S')} {text}", err=True)

    with tempfile.TemporaryDirectory(prefix="moodstream-scale-") as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        found = run(folder, seed, seconds, say)
    line = msgspec.json.encode(found)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))
    if not found.good:
        click.secho("not as promised", fg="red", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main(prog_name="scale-proof")
