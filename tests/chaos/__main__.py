"""`make chaos`: random faults for some minutes, then the check. Exit code 1 where a promise was broken."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tests.chaos.run import Outcome, Plan, run
from tests.chaos.run import Progress as At
from tests.chaos.schedule import KINDS, schedule
from tests.chaos.system import Options
from worker.local import kafka as local_kafka
from worker.local import redis as local_redis

_LINE_EVERY_S = 20.0


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", type=click.FloatRange(min=0.2), default=5.0, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed, the same faults.")
@click.option("--faults", default="", help=f"Only these kinds, separated by commas: {', '.join(KINDS)}.")
@click.option(
    "--rate", type=click.FloatRange(min=1), default=280.0, show_default=True, help="Records a second."
)
@click.option(
    "--model",
    type=click.Choice(["small", "bundled", "null"]),
    default="small",
    show_default=True,
    help="small: random answers at no cost. bundled: the real one, which needs a machine of its own.",
)
@click.option(
    "--group-protocol", type=click.Choice(["classic", "consumer"]), default="classic", show_default=True
)
@click.option("--plan", "only_plan", is_flag=True, help="Only show the faults.")
@click.option("--keep", type=click.Path(path_type=Path), help="Keep logs of all roles in this folder.")
@click.option("--json", "as_json", is_flag=True, help="The result as one line of JSON on standard output.")
def main(
    minutes: float,
    seed: int,
    faults: str,
    rate: float,
    model: str,
    group_protocol: str,
    only_plan: bool,
    keep: Path | None,
    as_json: bool,
) -> None:
    """Do faults to three brokers, Redis, three workers and two trends, and check what came of it."""
    kinds = tuple(part.strip() for part in faults.split(",") if part.strip()) or tuple(KINDS)
    unknown = [kind for kind in kinds if kind not in KINDS]
    if unknown:
        raise click.UsageError(f"unknown faults: {', '.join(unknown)}; there are {', '.join(KINDS)}")
    if only_plan:
        for fault in schedule(seed, minutes * 60, kinds):
            click.echo(str(fault))
        return
    missing = local_kafka.available() or local_redis.available()
    if missing is not None:
        raise click.ClickException(missing)
    plan = Plan(seed, minutes, rate, kinds, Options(model=model, group_protocol=group_protocol))
    again = f"seed {seed}; again: make chaos MINUTES={minutes:g} SEED={seed}"
    again += f" FAULTS={faults}" if faults else ""
    with tempfile.TemporaryDirectory(prefix="moodstream-chaos-") as scratch, _shown() as (say, show):
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        try:
            outcome = run(plan, folder, say, show)
        except BaseException:
            say(f"ended before its time; {again}")
            raise
    _report(outcome, as_json)
    if not outcome.good:
        click.echo(f"a promise was broken; {again}", err=True)
        sys.exit(1)


def _report(outcome: Outcome, as_json: bool) -> None:
    for example in outcome.verdict.examples:
        click.echo(f"  {example}", err=True)
    for problem in (*outcome.result["problems"], *outcome.result["exits"]):
        click.echo(f"  {problem}", err=True)
    if as_json:
        click.echo(msgspec.json.encode(outcome.result))
        return
    result = outcome.result
    click.echo(
        f"{'✓' if outcome.good else '✗'} {result['faults']} faults over {result['records']} records: "
        f"lost {result['lost']}, doubled {result['doubled']}, out of order {result['out_of_order']}, "
        f"trends {'exact' if result['trends_exact'] else 'NOT exact'}, "
        f"longest stall {result['longest_stall_s']} s"
    )


@contextmanager
def _shown() -> Iterator[tuple[Callable[[str], None], Callable[[At], None]]]:
    """A bar on a terminal; elsewhere a line now and then. All on standard error."""
    console = Console(stderr=True, highlight=False)
    if console.is_terminal and not console.is_dumb_terminal:
        columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.fields[more]}"))
        with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as bar:
            task = bar.add_task("starting", total=1.0, more="")
            yield (
                lambda text: console.print(text, style="dim"),
                lambda at: bar.update(task, completed=at.part, description=at.step, more=_words(at)),
            )
        return
    last = [0.0]

    def line(at: At) -> None:
        if time.monotonic() - last[0] >= _LINE_EVERY_S:
            last[0] = time.monotonic()
            console.print(f"{at.step} {at.part:.0%}: {_words(at)}", soft_wrap=True)

    yield (
        lambda text: console.print(f"{time.strftime('%H:%M:%S')} {text}", soft_wrap=True, markup=False),
        line,
    )


def _words(at: At) -> str:
    return f"{at.faults} faults, {at.sent} sent, {at.labels} labelled"


if __name__ == "__main__":
    main(prog_name="chaos")
