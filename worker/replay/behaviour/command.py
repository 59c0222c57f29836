"""`moodstream behaviour`: the suite, disturbed posts and bias, through the serving path."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import click
import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

from worker.replay.behaviour.bias import Bias, read_eec, run_bias
from worker.replay.behaviour.engine import run_invariances, run_suite
from worker.replay.behaviour.report import KINDS, MEANING, Behaviour, Outcome
from worker.replay.gold import read_posts
from worker.replay.serving import asking, opened, with_model
from worker.settings import Settings


class Order(NamedTuple):
    """What the command line asks for."""

    model: str | None
    """A folder or `bundled`; None: what the settings say."""
    posts: Path | None
    eec: Path | None
    at_least: float | None
    """The share of cases of each kind that must pass."""
    as_json: bool


class Findings(NamedTuple):
    """All that was measured."""

    model: str
    suite: Behaviour
    posts: tuple[Outcome, ...] | None
    bias: Bias | None

    def as_json(self) -> dict[str, object]:
        """The last line of `moodstream behaviour --json`; what was not asked for is not there."""
        found: dict[str, object] = {"model": self.model, "suite": self.suite.as_json()}
        if self.posts is not None:
            found["posts"] = {
                one.name: {"n": one.n, "unchanged": one.passed, "rate": one.rate} for one in self.posts
            }
        if self.bias is not None:
            found["bias"] = self.bias.as_json()
        return found


def run(settings: Settings, order: Order) -> int:
    """Measure, print, and return the exit code: 1 where fewer cases pass than were asked for.

    Raises:
        ConfigurationError: the model or a file cannot be used.
    """
    settings = with_model(settings, order.model)
    posts = None if order.posts is None else read_posts(order.posts)
    sentences = None if order.eec is None else read_eec(order.eec)
    with opened(settings) as model:
        found = Findings(
            model.name,
            run_suite(asking(model, settings, "suite")),
            None if posts is None else run_invariances(asking(model, settings, "posts"), posts),
            None if sentences is None else run_bias(asking(model, settings, "bias"), sentences),
        )
    if order.as_json:
        click.echo(msgspec.json.encode(found.as_json()))
    else:
        _show(found)
    return int(order.at_least is not None and found.suite.worst() < order.at_least)


def _show(found: Findings) -> None:
    console = Console()
    for kind in KINDS:
        total = found.suite.total(kind)
        rows = [one for one in found.suite.outcomes if one.kind == kind]
        _heading(console, f"{MEANING[kind]}: {total.passed} of {total.n} passed ({total.rate:.1%})")
        console.print(_table(rows, "passed"))
        for one in rows:
            for example in one.examples[:1]:
                console.print(Text(f"  {one.name}: {example}", style="dim"))
    if found.posts is not None:
        _heading(console, "labels that stay when posts are disturbed")
        console.print(_table(found.posts, "stayed"))
    if found.bias is not None:
        _heading(console, f"mean differences of scores over {found.bias.sentences} sentences")
        console.print(_bias_table(found.bias))
        gap = found.bias.largest()
        console.print(f"largest gap: {gap.difference.value:+.4f} ({gap.emotion}, {gap.attribute})")
    console.print(f"model: {found.model}")


def _heading(console: Console, line: str) -> None:
    console.print()
    console.print(Text(line, style="bold"))


def _table(rows: Iterable[Outcome], what: str) -> Table:
    table = Table()
    for heading in ("test", "cases", what):
        table.add_column(heading, justify="left" if heading == "test" else "right")
    for one in rows:
        table.add_row(one.name, str(one.n), f"{one.rate:.1%}" if one.n else "-")
    return table


def _bias_table(bias: Bias) -> Table:
    table = Table()
    for heading in ("groups", "emotion", "pairs", "difference", "95% interval"):
        table.add_column(heading, justify="left" if heading in ("groups", "emotion") else "right")
    for gap in bias.gaps:
        span = f"{gap.difference.low:+.4f} to {gap.difference.high:+.4f}"
        table.add_row(gap.attribute, gap.emotion, str(gap.n), f"{gap.difference.value:+.4f}", span)
    return table
