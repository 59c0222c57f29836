"""`moodstream model promote` and `shadow`, `moodstream control`: what operators say to running workers."""

from __future__ import annotations

import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec

from worker.clock import SystemClock
from worker.errors import ConfigurationError
from worker.options import json_option, settings_options
from worker.settings import Settings

if TYPE_CHECKING:
    from worker.control.follow import Watched

_WAIT_S = 30.0
_wait = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=_WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for the workers' answers.",
)
_NOT_DONE = 1


@click.command()
@click.argument("name", metavar="NAME@VERSION")
@click.option(
    "--max-disagreement",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Only where its shadow has differed from what serves on at most this share of the posts.",
)
@click.option(
    "--min-posts",
    type=click.IntRange(min=1),
    default=1000,
    show_default=True,
    help="How many posts the shadow must have been asked about, with --max-disagreement.",
)
@click.option(
    "--gate",
    "tests",
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    metavar="DIR",
    help="Only where it is not worse on these labelled texts (test split) than what serves, as `moodstream "
    "model gate` says. Both models must lie in this machine's model.store.",
)
@_wait
@json_option
@settings_options
def promote(
    settings: Settings,
    *,
    name: str,
    max_disagreement: float | None,
    min_posts: int,
    tests: tuple[Path, ...],
    wait_s: float,
    as_json: bool,
) -> None:
    """Let every worker serve another model from its next batch on. Nothing stops; the way back is the same.

    Each worker needs the model's folder in its model.store. Where one refuses it, all go back to what served
    before. Exit code 1: a worker refused it or did not answer in time, or the shadow's figures or the gate
    speak against it (then nothing was changed).
    """
    from worker.control.follow import watched
    from worker.control.promote import promoted

    clock = SystemClock()
    with watched(settings, wait_s=wait_s) as board:
        if max_disagreement is not None:
            _hold_to(board.reports, name, max_disagreement, min_posts)
        if tests:
            _pass_gate(settings, board, name, tests, as_json=as_json)
        outcome = promoted(settings, board, name, within_s=wait_s, clock=clock)
    if as_json:
        click.echo(
            msgspec.json.encode(
                {
                    "model": name,
                    "serving": [report.worker for report in outcome.serving],
                    "refused": {report.worker: report.refused for report in outcome.refused},
                    "silent": outcome.silent,
                    "taken_back": outcome.taken_back,
                }
            )
        )
    else:
        for report in outcome.serving:
            click.secho(f"{report.worker} serves {name}", fg="green")
        for report in outcome.refused:
            click.secho(f"{report.worker} goes on with {report.model}: {report.refused}", fg="red")
        if outcome.taken_back:
            click.secho("taken back: what served before serves everywhere", fg="yellow")
        if outcome.silent:
            click.secho(f"{outcome.silent} workers have not answered within {wait_s:.0f} s", fg="yellow")
        if not (outcome.serving or outcome.refused or outcome.silent):
            click.echo(f"no worker runs; those that start will serve {name}")
    sys.exit(_NOT_DONE if outcome.refused or outcome.silent else 0)


@click.command()
@click.argument("name", metavar="NAME@VERSION|off")
@click.option(
    "--share",
    type=click.FloatRange(0, 1, min_open=True),
    default=1.0,
    show_default=True,
    help="Of the posts, chosen by their key.",
)
@json_option
@settings_options
def shadow(settings: Settings, name: str, share: float, as_json: bool) -> None:
    """Ask a second model about the posts that are labelled, beside the one that serves; `off` ends that.

    It answers nobody: metrics and `moodstream control show` say how often it would have said something else.
    It skips posts while live ones are waiting.
    """
    from worker.control.messages import SHADOW, Shadowing
    from worker.control.topic import ControlWriter

    now = datetime.fromtimestamp(SystemClock().time(), UTC)
    setting = None if name == "off" else _checked(Shadowing, model=name, share=share, at=now)
    ControlWriter(settings.kafka, settings.topics.control).write(SHADOW, setting, within_s=_WAIT_S)
    if as_json:
        click.echo(msgspec.json.encode({"shadow": setting and name, "share": setting and share}))
    else:
        click.echo("no shadow" if setting is None else f"{name} is asked about {share:.0%} of the posts")


@click.group()
def control() -> None:
    """What running workers have been told: the model, its shadow, a pause."""


@control.command()
@json_option
@settings_options
def show(settings: Settings, as_json: bool) -> None:
    """Show what is set, and what each worker says of itself."""
    from worker.control.follow import together, watched

    with watched(settings, wait_s=_WAIT_S) as board:
        model, shadowing, paused = board.settings
        reports = board.reports
    compared = None if shadowing is None else together(reports, shadowing.model)
    if as_json:
        found = {"model": model, "shadow": shadowing, "paused": paused, "workers": reports}
        click.echo(msgspec.json.encode(found | {"compared": compared}))
        return
    click.echo(f"model: {model.model if model else 'as each worker is set'}{', PAUSED' if paused else ''}")
    for report in reports:
        refused = f"; refuses {report.wanted}: {report.refused}" if report.refused else ""
        click.echo(f"{report.worker}: {report.model} (said at {report.at:%Y-%m-%d %H:%M:%S} UTC){refused}")
    if compared is not None and compared.n:
        share = 1 - compared.agreed / compared.n
        click.echo(
            f"{compared.model} differs from {compared.against} on {share:.1%} of {compared.n} posts"
            f" ({compared.skipped} skipped)"
        )


@control.command()
@settings_options
def pause(settings: Settings) -> None:
    """Let every worker take no more records, and stay in its group; what it holds it finishes."""
    _set_paused(settings, paused=True)
    click.echo("paused: `moodstream control resume` lets them go on")


@control.command()
@settings_options
def resume(settings: Settings) -> None:
    """Let the workers go on."""
    _set_paused(settings, paused=False)
    click.echo("resumed")


def _set_paused(settings: Settings, *, paused: bool) -> None:
    from worker.control.messages import PAUSE, Pause
    from worker.control.topic import ControlWriter

    now = datetime.fromtimestamp(SystemClock().time(), UTC)
    ControlWriter(settings.kafka, settings.topics.control).write(
        PAUSE, Pause(paused=paused, at=now), within_s=_WAIT_S
    )


def _checked(kind: Any, **values: Any) -> Any:
    """A message, held to its own type: what operators type may be anything."""
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise ConfigurationError([f"{error}; write NAME@VERSION, for example default@2026.11.24"]) from None


def _hold_to(reports: Any, name: str, most: float, posts: int) -> None:
    """Refuse a promotion that the shadow's figures do not allow."""
    from worker.control.follow import together

    compared = together(reports, name)
    if compared is None or compared.n < posts:
        n = 0 if compared is None else compared.n
        click.secho(
            f"not promoted: the shadow was asked about {n} posts, {posts} are asked for; "
            f"`moodstream model shadow {name}` begins it",
            fg="red",
            err=True,
        )
        sys.exit(_NOT_DONE)
    differed = 1 - compared.agreed / compared.n
    if differed > most:
        click.secho(
            f"not promoted: it differs from {compared.against} on {differed:.2%} of {compared.n} posts, "
            f"more than {most:.2%}",
            fg="red",
            err=True,
        )
        sys.exit(_NOT_DONE)


def _pass_gate(
    settings: Settings, board: Watched, name: str, tests: tuple[Path, ...], *, as_json: bool
) -> None:
    """End the command where the model is worse on labelled texts than the one that most workers serve."""
    from worker.replay.gate import gate
    from worker.replay.gate_command import MAX_LOSS, MIN_TEXTS
    from worker.replay.serving import BUNDLED

    said = Counter(report.model for report in board.reports)
    promotion, _, _ = board.settings
    if said:
        old = said.most_common(1)[0][0]
    elif promotion is not None:
        old = promotion.model
    else:
        old = BUNDLED if settings.model.path is None else str(settings.model.path)
    found = gate(name, old, tests, settings, split="test", max_loss=MAX_LOSS, min_texts=MIN_TEXTS)
    if not found.passed:
        for reason in found.reasons:
            click.secho(f"not promoted: worse than {found.old}: {reason}", fg="red", err=True)
        if as_json:
            click.echo(msgspec.json.encode({"model": name, "serving": [], "gate": found.reasons}))
        sys.exit(_NOT_DONE)
