"""`moodstream model gate`, and the gate of `moodstream model promote`."""

from __future__ import annotations

import sys
from pathlib import Path

import click
import msgspec

from worker.options import json_option, settings_options
from worker.settings import Settings

_REFUSED = 1
MAX_LOSS = 0.01
MIN_TEXTS = 200
"""Fewer say next to nothing: the standard error of an accuracy of 90% is then above two points."""


@click.command("gate")
@click.argument("new")
@click.argument("old")
@click.option(
    "--data",
    required=True,
    multiple=True,
    type=click.Path(exists=True, path_type=Path),
    help="A folder with SPLIT.txt (text;label) or SPLIT.jsonl, or such a file; several: it must pass each.",
)
@click.option("--split", default="test", show_default=True, help="Which part of the folders.")
@click.option(
    "--max-loss",
    type=click.FloatRange(0, 1),
    default=MAX_LOSS,
    show_default=True,
    metavar="SHARE",
    help="Most accuracy or macro F1 to lose, even where chance may have done it.",
)
@click.option(
    "--min-texts",
    type=click.IntRange(min=1),
    default=MIN_TEXTS,
    show_default=True,
    help="Fewest texts of a test.",
)
@json_option
@settings_options
def gate_command(
    *,
    settings: Settings,
    new: str,
    old: str,
    data: tuple[Path, ...],
    split: str,
    max_loss: float,
    min_texts: int,
    as_json: bool,
) -> None:
    """Refuse a model that is worse on a fixed test than the one that it would replace.

    NEW and OLD are folders, 'bundled', or NAME@VERSION of model.store. Worse is: significantly (McNemar's
    test, a paired bootstrap of macro F1), or by more than --max-loss. Exit code 0: passed; 1: refused, and
    why.
    """
    from worker.replay.gate import gate

    found = gate(new, old, data, settings, split=split, max_loss=max_loss, min_texts=min_texts)
    if as_json:
        click.echo(msgspec.json.encode(found))
    for name, test in found.tests.items():
        click.echo(f"{name}: {test.verdict}", err=as_json)
    if found.passed:
        click.secho(f"passed: {found.new} is not worse than {found.old}", fg="green", err=as_json)
        return
    for reason in found.reasons:
        click.secho(f"refused: {reason}", fg="red", err=True)
    sys.exit(_REFUSED)
