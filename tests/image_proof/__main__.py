"""`python -m tests.image_proof`: needs root, buildah, crun, mmdebstrap (Debian has them) and a real Kafka."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import click
import msgspec

from tests.image_proof.builder import Builder, available
from tests.image_proof.run import Given, run
from worker.bench.texts import read_texts
from worker.errors import DependencyError


@click.command()
@click.option(
    "--texts",
    type=click.Path(exists=True, path_type=Path),
    help="Posts, a line each; else the demo's.",
)
@click.option("--records", default=500, show_default=True, type=click.IntRange(min=1))
@click.option(
    "--folder",
    default=Path(".cache", "image-proof"),
    show_default=True,
    type=click.Path(path_type=Path),
    help="Where images are kept while it runs, 3 GB; the base stays.",
)
@click.option("--json", "as_json", is_flag=True, help="The result as one JSON line.")
def main(*, texts: Path | None, records: int, folder: Path, as_json: bool) -> None:
    """Build the image for the CPU, look into it, and let its worker label posts of a real Kafka.

    Exit code 1 where something is in it that should not be, it is too large, or a label is lost or another.
    """
    missing = available()
    if missing is not None:
        raise click.ClickException(missing)
    builder = Builder(folder)
    try:
        with tempfile.TemporaryDirectory(prefix="moodstream-image-proof-") as logs:
            found = run(Given(read_texts(texts), records), builder, Path(logs), _say)
    except DependencyError as error:
        raise click.ClickException(str(error)) from error
    finally:
        builder.tidy()
    line = msgspec.json.encode(found)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))
    if not found.good:
        click.secho("not as promised", fg="red", err=True)
        sys.exit(1)


def _say(what: str) -> None:
    click.echo(f"== {what}", err=True)


if __name__ == "__main__":
    main()
