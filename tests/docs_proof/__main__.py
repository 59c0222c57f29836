"""`python -m tests.docs_proof`. Exit code 1 where a line of the documents did not do what it should."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import msgspec

from tests.docs_proof.run import run
from worker.local import kafka as local_kafka
from worker.local import redis as local_redis


@click.command()
@click.option("--only", default="", metavar="WORDS", help="Only lines with these words.")
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def main(*, only: str, as_json: bool) -> None:
    """Run every command of the documents."""
    missing = local_kafka.available() or local_redis.available()
    if missing is not None:
        raise click.ClickException(missing)
    with tempfile.TemporaryDirectory(prefix="moodstream-docs-") as folder:
        found = run(Path(folder), only, lambda text: click.echo(text, err=True))
    line = msgspec.json.encode(found)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))
    sys.exit(0 if found.good else 1)


if __name__ == "__main__":
    main(prog_name="docs-proof")
