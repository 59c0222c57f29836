"""`moodstream train`: the command around `training.run`."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from worker.options import json_option


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
    "--epochs",
    type=click.FloatRange(min=0, min_open=True),
    help="Epochs instead of the recipe's; below 1 for a quick look.",
)
@json_option
def train(
    *,
    recipe: str,
    data: tuple[Path, ...],
    base: str | None,
    output: Path | None,
    name: str | None,
    model_version: str | None,
    seed: int | None,
    epochs: float | None,
    as_json: bool,
) -> None:
    """Fine-tune a model by RECIPE and write it as a model artefact.

    RECIPE is the name of a recipe that comes with moodstream ('default') or the path of a .toml file.
    Validation data choose the calibration; test data are read once, at the end.
    """
    from training.request import make_request

    request = make_request(
        recipe,
        data,
        changes={"base": base, "seed": seed, "epochs": epochs},
        output=output,
        name=name,
        version=model_version,
    )
    from training.run import run

    result = run(request, say=lambda line: click.echo(line, err=True), progress=sys.stderr.isatty())
    if as_json:
        click.echo(json.dumps(result.as_json()))
        return
    click.echo(_table(result.artifact.manifest.scores))
    click.echo(f"Wrote {result.artifact.full_name} to {result.artifact.path}")


def _table(scores: Mapping[str, Mapping[str, float]]) -> str:
    """Scores as lines of `data set/split`, figure and value."""
    return "\n".join(
        f"{split:20} {figure:24} {value:.4f}" if value % 1 else f"{split:20} {figure:24} {value:.0f}"
        for split, figures in scores.items()
        for figure, value in figures.items()
    )
