"""The `moodstream` command.

Exit codes: 0 done, 2 bad usage or configuration, 3 a dependency is unreachable, 4 data loss averted by
stopping. With `--json` the result is the last line on standard output that starts with `{`; all else goes to
standard error.
"""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

import click
import msgspec

from worker.bench.commands import bench
from worker.configuration import known, shown
from worker.control.commands import control, promote, shadow
from worker.doctor.commands import doctor
from worker.errors import ConfigurationError, MoodstreamError
from worker.options import json_option, settings_options
from worker.quality.commands import quality
from worker.replay.backfill.commands import backfill
from worker.replay.classify_command import classify
from worker.replay.gate_command import gate_command
from worker.replay.history.commands import replay
from worker.settings import Settings
from worker.sources.commands import send, source
from worker.topics.commands import topics

_INTERRUPTED = 130


class _Plugins(click.Group):
    """A group that takes commands of other packages of the distribution, loaded only when asked for.

    They are entry points of the group `moodstream.commands`: one called `train` is a command, one called
    `model.import` a command of the group `model`.
    """

    group_class = type  # Groups within this one take plug-ins too.

    def list_commands(self, ctx: click.Context) -> list[str]:
        return sorted({*super().list_commands(ctx), *_points(ctx)})

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        own = super().get_command(ctx, cmd_name)
        if own is not None:
            return own
        point = _points(ctx).get(cmd_name)
        command = None if point is None else point.load()
        return command if isinstance(command, click.Command) else None


def _points(ctx: click.Context) -> dict[str, EntryPoint]:
    """The plug-ins of the group that a context belongs to, by the name of their command."""
    path = ""
    while ctx.parent is not None:
        path = f"{ctx.info_name}.{path}"
        ctx = ctx.parent
    within = [point for point in entry_points(group="moodstream.commands") if point.name.startswith(path)]
    named = {point.name.removeprefix(path): point for point in within}
    return {name: point for name, point in named.items() if "." not in name}


@click.group(cls=_Plugins, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="moodstream")
def cli() -> None:
    """Tell the emotion of every post as it is written: Kafka in, labels out, trends in Redis."""


cli.add_command(topics)
cli.add_command(backfill)
cli.add_command(bench)
cli.add_command(classify)
cli.add_command(control)
cli.add_command(doctor)
cli.add_command(quality)
cli.add_command(replay)
cli.add_command(send)
cli.add_command(source)


@cli.command()
@click.option(
    "--slo-ms",
    metavar="MS",
    help="Experimental. Aim: p99 from written to committed. Short for --set batch.slo_ms=MS.",
)
@settings_options
def worker(settings: Settings) -> None:
    """Label the posts of the input topics, exactly once, until SIGTERM."""
    from worker.process import run_role
    from worker.stream.role import run

    run_role("worker", run, settings, drain_s=settings.worker.drain_s)


@cli.group(invoke_without_command=True)
@settings_options
@click.pass_context
def trends(ctx: click.Context, settings: Settings) -> None:
    """Count labels per minute, emotion and source in Redis, exactly once, and serve them over HTTP."""
    if ctx.invoked_subcommand is not None:
        return
    from worker.process import run_role
    from worker.trends.role import run

    run_role("trends", run, settings, drain_s=settings.trends.drain_s)


@trends.command("rebuild")
@json_option
@settings_options
def rebuild_trends(settings: Settings, as_json: bool) -> None:
    """Forget all counts of the namespace; a running trends role then counts the topic from its beginning."""
    from worker.trends.rebuild import rebuild

    done = rebuild(settings)
    if as_json:
        click.echo(msgspec.json.encode({"partitions": done.partitions, "keys": done.keys}))
    else:
        click.echo(f"{done.partitions} partitions will be counted anew; {done.keys} keys removed")


@cli.command()
@click.option(
    "--for",
    "for_s",
    type=click.FloatRange(min=0.5),
    metavar="SECONDS",
    help="How long posts are sent; until Ctrl-C where not given.",
)
@click.option(
    "--rate",
    type=click.FloatRange(min=1, max=10_000),
    default=50.0,
    show_default=True,
    metavar="POSTS_PER_S",
    help="Posts sent a second. More than the model can take are held back, not lost.",
)
@click.option(
    "--past",
    "past_minutes",
    type=click.FloatRange(min=0, max=240),
    default=60.0,
    show_default=True,
    metavar="MINUTES",
    help="Posts of so many minutes before now come first, so that trends have something to show.",
)
@click.option(
    "--kafka",
    is_flag=True,
    help="An Apache Kafka in place of a broker in memory, which knows no times and aborts nothing: for all "
    "that is done with the topics besides (replay, control). Needs Java; Maven the first time.",
)
@click.option("--picture", type=click.Path(dir_okay=False, path_type=Path), hidden=True)
@json_option
@settings_options
def demo(
    *,
    settings: Settings,
    for_s: float | None,
    rate: float,
    past_minutes: float,
    kafka: bool,
    picture: Path | None,
    as_json: bool,
) -> None:
    """Watch all of it at work on this machine: a broker, a Redis, a worker, the trends and some posts.

    Needs nothing but Python. Exit code 1: a post was not answered, or a trend is not what was labelled.
    """
    from worker.demo.run import Order, run

    sys.exit(run(settings, Order(for_s, rate, past_minutes, as_json, kafka, picture)))


@cli.command()
@json_option
@settings_options
def config(settings: Settings, as_json: bool) -> None:
    """Show every setting: its effective value (secrets hidden), its variable, what it is for."""
    values = shown(settings)
    if as_json:
        click.echo(msgspec.json.encode(values))
        return
    for dotted, field in known().items():
        value: Any = values
        for part in dotted.split("."):
            value = value[part]
        click.echo(f"{click.style(dotted, bold=True)} = {value}\n    {field.description}")


@cli.command()
@click.option(
    "--data",
    required=True,
    type=click.Path(exists=True, path_type=Path),
    help="A folder with SPLIT.txt (text;label) or SPLIT.jsonl, or such a file.",
)
@click.option("--split", default="test", show_default=True, help="Which part of the folder.")
@click.option(
    "--compare",
    nargs=2,
    metavar="A B",
    help="Two models, each a folder or 'bundled', on the same texts: which is better, and how sure.",
)
@click.option(
    "--reliability",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.svg",
    help="Draw how often the model is right at each confidence (one model only).",
)
@json_option
@settings_options
def evaluate(
    *,
    settings: Settings,
    data: Path,
    split: str,
    compare: tuple[str, str] | None,
    reliability: Path | None,
    as_json: bool,
) -> None:
    """Score the model on labelled texts, through the serving path."""
    from worker.replay.evaluate import compare_data, evaluate_data

    if reliability is not None and reliability.suffix != ".svg":
        raise click.BadParameter(f"{reliability.name}: the diagram is an SVG: name it FILE.svg")
    if compare is None:
        evaluate_data(data, split, settings, reliability=reliability, as_json=as_json)
    elif reliability is None:
        compare_data(data, split, compare, settings, as_json=as_json)
    else:
        raise click.UsageError("--reliability draws one model: leave out --compare")


@cli.command()
@click.option("--model", metavar="DIR", help="A model folder, or 'bundled'; else the one of the settings.")
@click.option(
    "--posts",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="Posts, one a line (or text;label): how many labels change when they are disturbed.",
)
@click.option(
    "--eec",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="The Equity Evaluation Corpus as published (CSV): scores by gender and by race.",
)
@click.option(
    "--at-least",
    type=click.FloatRange(0, 1),
    metavar="SHARE",
    help="Exit with 1 where the suite's MFT, INV or DIR cases pass less often than this.",
)
@json_option
@settings_options
def behaviour(
    *,
    settings: Settings,
    model: str | None,
    posts: Path | None,
    eec: Path | None,
    at_least: float | None,
    as_json: bool,
) -> None:
    """Test what the model does with plain cases, disturbed texts and who is spoken of (CheckList)."""
    from worker.replay.behaviour.command import Order, run

    sys.exit(run(settings, Order(model, posts, eec, at_least, as_json)))


@cli.group()
def model() -> None:
    """Look at, check and import model artefacts; let running workers serve another."""


@model.command()
@json_option
@settings_options
def info(settings: Settings, as_json: bool) -> None:
    """Show what the artefact is: labels, calibration, data, scores."""
    from worker.model.artifact import load as load_artifact
    from worker.model.bundled import bundled_model

    artifact = load_artifact(settings.model.path or bundled_model())
    line = msgspec.json.encode(artifact.manifest)
    click.echo(line if as_json else msgspec.json.format(line, indent=2))


@model.command()
@json_option
@settings_options
def verify(settings: Settings, as_json: bool) -> None:
    """Check every file of the artefact against its manifest; refuse pickles and unknown files."""
    from worker.model.artifact import load as load_artifact
    from worker.model.bundled import bundled_model

    path = settings.model.path or bundled_model()
    artifact = load_artifact(path)
    result = {"model": artifact.full_name, "files": len(artifact.manifest.files), "ok": True}
    click.echo(
        msgspec.json.encode(result) if as_json else f"{artifact.full_name}: every file is as it was made"
    )


model.add_command(promote)
model.add_command(shadow)
model.add_command(gate_command)


def main() -> None:
    """Run the command line; errors become a message that says what to do, and an exit code."""
    try:
        cli.main(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(_INTERRUPTED)
    except click.ClickException as error:
        error.show()
        sys.exit(ConfigurationError.exit_code)
    except ConfigurationError as error:
        click.secho("\n".join(error.problems), fg="red", err=True)
        sys.exit(error.exit_code)
    except MoodstreamError as error:
        click.secho(str(error), fg="red", err=True)
        sys.exit(error.exit_code)
