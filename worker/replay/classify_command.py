"""`moodstream classify` on the command line: lines on this machine, or tables on a cluster."""

from __future__ import annotations

import sys
from typing import Any, BinaryIO, cast

import click

from worker.options import json_option, settings_options
from worker.settings import Settings


def _pairs(_ctx: click.Context, _param: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    for value in values:
        if "=" not in value:
            raise click.BadParameter(f"{value}: write NAME=VALUE")
    return dict(value.split("=", 1) for value in values)


@click.command()
@click.argument("file", type=click.Path(allow_dash=True), default="-")
@click.argument("output", type=click.Path(), required=False)
@click.option(
    "--model",
    metavar="DIR",
    help="A model folder, or 'bundled'; else the one of the settings. With --engine each machine opens it: an"
    " absolute path, or the name of an archive that Spark unpacks.",
)
@click.option(
    "--engine",
    type=click.Choice(["spark"]),
    help="FILE and OUTPUT are Parquet, on disk or wherever Spark reads; it labels one into the other.",
)
@click.option("--text-column", metavar="NAME", help="With --engine: the column to label; else text.")
@click.option("--id-column", metavar="NAME", help="With --engine: the column that goes along; else id.")
@click.option(
    "--keep",
    multiple=True,
    metavar="NAME",
    help="With --engine: another column that goes along; again for more.",
)
@click.option(
    "--partitions",
    type=click.IntRange(min=1),
    metavar="N",
    help="With --engine: spread the posts over so many parts first; else as the files have them.",
)
@click.option(
    "--overwrite", is_flag=True, help="With --engine: replace OUTPUT, which else must not be there."
)
@click.option(
    "--master", metavar="URL", help="With --engine: Spark's; else local[*], all cores of this machine."
)
@click.option(
    "--spark-conf",
    multiple=True,
    metavar="NAME=VALUE",
    callback=_pairs,
    help="With --engine: any property of Spark.",
)
@json_option
@settings_options
def classify(
    *,
    settings: Settings,
    file: str,
    model: str | None,
    engine: str | None,
    as_json: bool,
    **of_engine: Any,
) -> None:
    """Label the lines of FILE (or standard input): plain text, or JSON objects with a "text".

    One answer a line, in order. With --json each is an object with label, score, scores and neutral. With
    --engine a table FILE becomes the table OUTPUT, with a row for each row.
    """
    from worker.replay.serving import with_model

    settings = with_model(settings, model)
    if engine is None:
        _on_this_machine(settings, file, of_engine, as_json=as_json)
    else:
        _on_spark(settings, file, of_engine, as_json=as_json)


def _on_this_machine(settings: Settings, file: str, of_engine: dict[str, Any], *, as_json: bool) -> None:
    given = [name for name, value in of_engine.items() if value]
    if given:
        named = "OUTPUT" if given[0] == "output" else f"--{given[0].replace('_', '-')}"
        raise click.UsageError(f"{named} is for --engine")
    from worker.replay.classify import classify_lines

    lines = click.File("rb").convert(file, None, click.get_current_context())
    classify_lines(cast(BinaryIO, lines), sys.stdout, settings, as_json=as_json)


def _on_spark(settings: Settings, source: str, of_engine: dict[str, Any], *, as_json: bool) -> None:
    if source == "-" or of_engine["output"] is None:
        raise click.UsageError("--engine needs two folders: FILE and OUTPUT")
    from worker.cluster.run import Order, run

    order = Order(
        source=source,
        target=of_engine["output"],
        text_column=of_engine["text_column"] or "text",
        others=(of_engine["id_column"] or "id", *of_engine["keep"]),
        master=of_engine["master"] or "local[*]",
        conf=of_engine["spark_conf"],
        partitions=of_engine["partitions"],
        overwrite=of_engine["overwrite"],
        as_json=as_json,
    )
    run(settings, order)
