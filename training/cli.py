"""`moodstream train`: the command around `training.run`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import click

from worker.options import json_option

if TYPE_CHECKING:
    from training.seeds import Seeds


@click.command()
@click.argument("recipe")
@click.option(
    "--data",
    "data",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a labelled data set: train.txt, val.txt, test.txt with lines of 'text;label', or"
    " GoEmotions as published. Give it again to train on several. Only with GoEmotions does the"
    " model learn to say 'neutral'. Without it dair-ai/emotion is loaded from the Hugging Face hub.",
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a trained model whose answers soften the labels; give it again for several, whose"
    " mean is then better than any of them.",
)
@click.option(
    "--unlabelled",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of posts, one a line (what follows a tab is ignored), for the teachers to label.",
)
@click.option(
    "--extra",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="File of `moodstream quality export` (or JSON lines with text and label): more training rows. Texts"
    " of any validation or test split are left out.",
)
@click.option(
    "--eec",
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    help="The Equity Evaluation Corpus as published (CSV): measures how scores differ between people.",
)
@click.option(
    "--base",
    help="Model to fine-tune instead of the recipe's: 'minilm', a folder, or a hub id. A bigger one"
    " is more accurate and slower in proportion.",
)
@click.option(
    "--output",
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the artefact to; it must not exist yet.  [default: runs/NAME]",
)
@click.option("--name", help="Name in the manifest and on every label.  [default: the recipe's]")
@click.option(
    "--model-version",
    help="Version in the manifest and on every label; a new one for every training that is served."
    "  [default: today, as 2026.11.21]",
)
@click.option(
    "--seed",
    type=click.IntRange(min=0),
    help="Seed instead of the recipe's. Accuracy moves by about 0.3 points between seeds.",
)
@click.option(
    "--seeds",
    type=click.IntRange(min=2),
    help="Train this many times, each with the next seed, into OUTPUT-seedN; reports mean and spread, and"
    " the best by validation data.",
)
@click.option(
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    help="Epochs instead of the recipe's; below 1 for a quick look.",
)
@click.option(
    "--precision",
    type=click.Choice(["bf16", "amp", "fp32"]),
    help="Precision instead of the recipe's; bf16 takes half the time of fp32 on a recent CPU.",
)
@click.option("--fresh", is_flag=True, help="Begin again, where a training that was killed would go on.")
@json_option
def train(
    *,
    recipe: str,
    data: tuple[Path, ...],
    teachers: tuple[Path, ...],
    unlabelled: tuple[Path, ...],
    extra: tuple[Path, ...],
    eec: Path | None,
    base: str | None,
    output: Path | None,
    name: str | None,
    model_version: str | None,
    seed: int | None,
    seeds: int | None,
    epochs: float | None,
    precision: str | None,
    fresh: bool,
    as_json: bool,
) -> None:
    """Fine-tune a model by RECIPE and write it as a model artefact.

    RECIPE is the name of a recipe that comes with moodstream ('default') or the path of a .toml file.
    Validation data choose the calibration; test data are read once, at the end. A checkpoint is kept after
    every epoch: the same command again, after a kill, goes on from the last one to the same result.
    """
    from training.request import make_request

    request = make_request(
        recipe,
        data,
        teachers=teachers,
        unlabelled=unlabelled,
        extra=extra,
        eec=eec,
        changes={"base": base, "seed": seed, "epochs": epochs, "precision": precision},
        fresh=fresh,
        output=output,
        name=name,
        version=model_version,
    )
    watched = sys.stderr.isatty()
    if seeds is not None:
        from training.seeds import run_seeds

        _print_seeds(run_seeds(request, seeds, say=_say, progress=watched), as_json=as_json)
        return
    from training.run import run

    result = run(request, say=_say, progress=watched)
    if as_json:
        click.echo(json.dumps(result.as_json()))
        return
    click.echo(_table(result.artifact.manifest.scores))
    click.echo(f"Wrote {result.artifact.full_name} to {result.artifact.path}")


def _say(line: str) -> None:
    click.echo(line, err=True)


def _print_seeds(found: Seeds, *, as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps(found.as_json()))
        return
    spread = found.spread()
    for split, figures in found.mean().items():
        for figure, value in figures.items():
            click.echo(f"{split:20} {figure:24} {value:.4f} +- {spread[split][figure]:.4f}")
    click.echo(f"Best by validation data: {found.best().artifact.path}")


def _table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Scores as lines of `data set/split`, figure and value."""
    return "\n".join(
        f"{split:20} {figure:24} {value:.4f}" if value % 1 else f"{split:20} {figure:24} {value:.0f}"
        for split, figures in scores.items()
        for figure, value in figures.items()
    )
