"""`moodstream quality`: the role, and what can be asked of its judgements without it."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from worker.clock import SystemClock
from worker.errors import ConfigurationError
from worker.options import json_option, settings_options
from worker.settings import Settings

if TYPE_CHECKING:
    from rich.table import Table

    from worker.quality.export import Exported
    from worker.quality.report import Report
    from worker.replay.paired import Interval

_NOTHING = "none"


@click.group(invoke_without_command=True)
@settings_options
@click.pass_context
def quality(ctx: click.Context, settings: Settings) -> None:
    """Join people's corrections to the labels they correct; keep each model's accuracy, until SIGTERM."""
    if ctx.invoked_subcommand is not None:
        return
    if "faust" not in sys.modules and find_spec("faust") is None:  # loaded, it has no spec
        raise ConfigurationError(["quality: Faust is not installed: pip install 'moodstream[quality]'"])
    from worker.process import run_role
    from worker.quality.role import run

    run_role("quality", run, settings, drain_s=settings.quality.drain_s)


@quality.command("report")
@json_option
@settings_options
def show_report(settings: Settings, as_json: bool) -> None:
    """Show accuracy and macro F1 per model, window and slice, from what the role has kept in Kafka.

    With --json all that /api/quality answers, confusion tables among it.
    """
    from rich.console import Console

    from worker.quality.report import report
    from worker.quality.stored import read

    clock = SystemClock()
    stored = read(settings, clock)
    found = report(stored.judgements, settings.review.slices, clock.time())
    _remark(stored.pending)
    if as_json:
        click.echo(msgspec.json.encode(found))
    else:
        Console().print(_table(found))


@quality.command()
@click.option(
    "--output",
    required=True,
    type=click.Path(dir_okay=False, path_type=Path),
    help="The file to write: JSON lines, for `moodstream train RECIPE --extra FILE`.",
)
@click.option(
    "--exclude",
    required=True,
    multiple=True,
    metavar=f"DIR|{_NOTHING}",
    help="Folder or file of texts that somebody measures with: none of them is exported. Give it for every "
    f"evaluation set; '{_NOTHING}' says that there is none.",
)
@json_option
@settings_options
def export(settings: Settings, output: Path, exclude: tuple[str, ...], as_json: bool) -> None:
    """Write what people say as training data, with where each row comes from.

    A text's label is what most people say of it; where equally many say two things it is left out.
    """
    from worker.quality.evaluation_texts import read_all
    from worker.quality.export import Exported, rows, write
    from worker.quality.stored import read

    excluded = read_all(_places(exclude))
    stored = read(settings, SystemClock())
    counts = Exported(pending=stored.pending)
    write(output, rows(stored.judgements, excluded, counts))
    _remark(stored.pending)
    click.echo(msgspec.json.encode(counts) if as_json else _account(counts, output))


def _places(exclude: tuple[str, ...]) -> list[Path]:
    if _NOTHING in exclude:
        if len(exclude) > 1:
            raise click.BadParameter(
                f"'{_NOTHING}' beside a folder: give one or the other", param_hint="--exclude"
            )
        return []
    missing = [place for place in exclude if not Path(place).exists()]
    if missing:
        raise click.BadParameter(f"{', '.join(missing)}: no such folder or file", param_hint="--exclude")
    return [Path(place) for place in exclude]


def _remark(pending: int) -> None:
    if pending:
        click.echo(
            f"Up to {pending} corrections are not in it yet: is `moodstream quality` running?", err=True
        )


def _account(counts: Exported, output: Path) -> str:
    return (
        f"{output}: {counts.rows} rows of {counts.judgements} judged labels; left out: {counts.undecided}"
        f" undecided, {counts.without_text} without a text, {counts.excluded} of evaluation sets"
    )


def _table(found: Report) -> Table:
    from rich.table import Table

    agreement = found.agreement
    alpha = "" if agreement.alpha is None else f", Krippendorff's alpha {agreement.alpha:.3f}"
    table = Table(
        title=f"{found.judgements} labels judged by {found.annotators} people",
        caption=f"{agreement.n} judged by several, who differ on {_shown(agreement.disagreement)}{alpha}.\n"
        "Only the random slice is the stream's accuracy: people correct what looks wrong.",
    )
    for name in ("model", "window", "slice"):
        table.add_column(name)
    for name in ("n", "accuracy", "macro F1", "overconfidence"):
        table.add_column(name, justify="right")
    for model, windows in found.models.items():
        for window, slices in windows.items():
            for name, figures in slices.items():
                shown = map(_shown, (figures.accuracy, figures.macro_f1, figures.overconfidence))
                table.add_row(model, window, name, str(figures.n), *shown)
    return table


def _shown(interval: Interval | None) -> str:
    return "-" if interval is None else f"{interval.value:.3f} ({interval.low:.3f} to {interval.high:.3f})"
