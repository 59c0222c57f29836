"""Options that several benchmarks share."""

from __future__ import annotations

from pathlib import Path

import click

texts_option = click.option(
    "--texts", type=click.Path(exists=True, path_type=Path), help="Posts, one a line; else the demo's."
)
kafka_option = click.option(
    "--bootstrap",
    envvar="KAFKA_BOOTSTRAP",
    show_envvar=True,
    metavar="HOST:PORT,...",
    help="A Kafka to use; else one is started (Java and Maven needed).",
)
