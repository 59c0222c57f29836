"""`moodstream bench swap` and `shadow`: what it costs to operate a worker while it works."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from worker.bench.options import kafka_option, texts_option
from worker.options import json_option, set_option
from worker.settings import Settings

FC = TypeVar("FC", bound="Callable[..., Any] | click.Command")

_slo_option = click.option("--slo-ms", metavar="MS", help="The worker's promise.")
_backlog_option = click.option(
    "--backlog", default=15_000, show_default=True, help="Posts to measure the capacity with."
)


def _load_option(default: float, why: str = "") -> Callable[[FC], FC]:
    return click.option(
        "--load",
        "share",
        type=click.FloatRange(min=0, max=2, min_open=True),
        default=default,
        show_default=True,
        help=f"Share of the worker's capacity that is sent{why}.",
    )


def _tell(found: msgspec.Struct, *, as_json: bool) -> None:
    line = msgspec.json.encode(found)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))


@click.command()
@texts_option
@_slo_option
@_load_option(0.8)
@click.option("--seconds", type=click.FloatRange(min=5), default=300.0, show_default=True, help="How long.")
@click.option("--promotions", type=click.IntRange(min=3), default=20, show_default=True, help="How many.")
@_backlog_option
@kafka_option
@json_option
@set_option
def swap(
    *,
    settings: Settings,
    texts: Path | None,
    share: float,
    seconds: float,
    promotions: int,
    backlog: int,
    bootstrap: str | None,
    as_json: bool,
) -> None:
    """How long posts wait while models are promoted, one of them damaged; what is lost or doubled."""
    from worker.bench.swap import run
    from worker.bench.texts import read_texts
    from worker.model.bundled import bundled_model

    found = run(
        settings,
        settings.model.path or bundled_model(),
        read_texts(texts),
        share=share,
        seconds=seconds,
        promotions=promotions,
        bootstrap=bootstrap,
        capacity_posts=backlog,
    )
    _tell(found, as_json=as_json)


@click.command()
@texts_option
@_slo_option
@_load_option(0.4, ": with a shadow on every post the work doubles")
@click.option(
    "--seconds",
    type=click.FloatRange(min=2),
    default=60.0,
    show_default=True,
    help="Without, and with it.",
)
@_backlog_option
@kafka_option
@json_option
@set_option
def shadow(
    *,
    settings: Settings,
    texts: Path | None,
    share: float,
    seconds: float,
    backlog: int,
    bootstrap: str | None,
    as_json: bool,
) -> None:
    """How long posts wait beside a shadow on every post, and whether what it is said to answer is right."""
    from worker.bench.shadow import run
    from worker.bench.texts import read_texts
    from worker.model.bundled import bundled_model

    found = run(
        settings,
        settings.model.path or bundled_model(),
        read_texts(texts),
        share=share,
        seconds=seconds,
        bootstrap=bootstrap,
        capacity_posts=backlog,
    )
    _tell(found, as_json=as_json)
