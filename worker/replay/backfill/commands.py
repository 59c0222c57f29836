"""`moodstream backfill` on the command line."""

from __future__ import annotations

import sys
from typing import Any

import click
import msgspec

from worker.options import json_option, settings_options
from worker.settings import Settings
from worker.topics.connect import WAIT_S

_INTERRUPTED = 130


class _Name(click.ParamType):
    """What a backfill is called: a part of the names of topics and keys."""

    name = "name"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        from worker.replay.backfill.names import NAME

        if not NAME.fullmatch(value):
            self.fail(
                f"{value!r}: small letters, digits and dashes, 40 at most, such as may-2026", param, ctx
            )
        return str(value)


name_argument = click.argument("name", type=_Name())
wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=1),
    default=2 * WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for Kafka or Redis, each time that they do not answer.",
)


@click.group()
def backfill() -> None:
    """Label days of the past anew while the stream runs, and let the trends answer from that at once."""


@backfill.command("run")
@name_argument
@click.option(
    "--from",
    "start",
    metavar="DAY",
    help="First day, UTC, such as 2026-05-01 or the same in RFC 3339. Posts are of the day that they were"
    " written.",
)
@click.option("--to", "end", metavar="DAY", help="The day after the last one, which must be over.")
@click.option(
    "--model",
    metavar="MODEL",
    help="A model folder, NAME@VERSION of model.store, or 'bundled'; else the one of the settings.",
)
@click.option(
    "--allow-gaps", is_flag=True, help="Also where the inputs do not hold all of these days any more."
)
@json_option
@wait_option
@settings_options
def run_backfill(
    *,
    settings: Settings,
    name: str,
    start: str | None,
    end: str | None,
    model: str | None,
    allow_gaps: bool,
    as_json: bool,
    wait_s: float,
) -> None:
    """Label the posts of some days with a model into topics of its own, and count them apart.

    Live labels, offsets and trends are not touched. The same command goes on where a run was stopped or
    killed, each post exactly once; later it brings in what has come late.
    """
    from worker.replay.backfill.run import Order, run
    from worker.replay.backfill.screen import Screen
    from worker.replay.backfill.swap import status

    with Screen() as screen:
        done = run(settings, Order(name, start, end, model, allow_gaps, wait_s), screen)
    shown = status(settings, name)[0]
    result = {
        **msgspec.to_builtins(shown),
        **{what: done.published[what] for what in ("labels", "tombstones", "dead_letters")},
        "counted": done.counted,
        "complete": done.complete,
    }
    if as_json:
        click.echo(msgspec.json.encode(result))
    else:
        click.echo(
            f"{name}: labelled {result['labels']} posts with {shown.model}; {result['dead_letters']} could"
            " not be"
        )
        click.echo(_line(shown))
        click.echo(
            f"`moodstream backfill swap {name}` lets the trends answer from it"
            if done.complete
            else f"stopped: `moodstream backfill run {name}` goes on"
        )
    sys.exit(0 if done.complete else _INTERRUPTED)


@backfill.command("swap")
@name_argument
@click.option("--undo", is_flag=True, help="Let what was there before answer again.")
@json_option
@settings_options
def swap_backfill(settings: Settings, name: str, undo: bool, as_json: bool) -> None:
    """Let the trends of its days be answered from a backfill, all at once; live counting goes on."""
    from worker.replay.backfill.swap import swap_in, swap_out

    shown = swap_out(settings, name) if undo else swap_in(settings, name)
    click.echo(msgspec.json.encode(shown) if as_json else _line(shown))


@backfill.command("status")
@click.argument("name", type=_Name(), required=False)
@json_option
@settings_options
def show_backfills(settings: Settings, name: str | None, as_json: bool) -> None:
    """Show the backfills: their days, models and labels, and which of them are swapped in."""
    from worker.replay.backfill.swap import status

    found = status(settings, name)
    if as_json:
        click.echo(msgspec.json.encode({"backfills": found}))
        return
    for shown in found:
        click.echo(_line(shown))
    if not found:
        click.echo("there is no backfill")


@backfill.command("remove")
@name_argument
@json_option
@wait_option
@settings_options
def remove_backfill(settings: Settings, name: str, as_json: bool, wait_s: float) -> None:
    """Delete the counts and the topics of a backfill that is not swapped in."""
    from worker.replay.backfill.swap import remove

    gone = remove(settings, name, wait_s=wait_s)
    if as_json:
        click.echo(msgspec.json.encode(gone._asdict()))
    else:
        click.echo(f"{name}: deleted {' and '.join(gone.topics)}, and {gone.keys} keys of counts")


def _line(shown: Any) -> str:
    state = "swapped in" if shown.swapped else "complete" if shown.complete_at else "not complete"
    return (
        f"{shown.name}: {shown.start} to {shown.end}, {shown.model}, {state}: {shown.n} labels,"
        f" {shown.live_n} counted live"
    )
