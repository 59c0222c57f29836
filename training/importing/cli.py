"""`moodstream model import`: the command around `training.importing.run`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import click

from worker.errors import ConfigurationError
from worker.options import json_option


@click.command("import")
@click.argument("model", metavar="DIR_OR_HUB_ID")
@click.option(
    "--output",
    required=True,
    type=click.Path(path_type=Path, file_okay=False),
    help="Folder to write the artefact to; it must not exist yet.",
)
@click.option("--name", help="Name in the manifest and on every label.  [default: the checkpoint's]")
@click.option(
    "--model-version", help="Version in the manifest and on every label.  [default: today, as 2026.11.21]"
)
@click.option(
    "--labels",
    metavar="NAME,NAME,...",
    help="What the logits mean, in their order, for a checkpoint that calls them LABEL_0, LABEL_1, ... or by"
    " other words.",
)
@click.option(
    "--data",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="Folder of a labelled data set, as for `moodstream train`; may be given again. Its validation split"
    " calibrates the probabilities and, for a model with a class 'neutral', the neutral gate. Without it the"
    " temperature is 1.",
)
@click.option(
    "--drop-neutral", is_flag=True, help="Leave the class 'neutral' out: answer the best of the six."
)
@click.option(
    "--max-length",
    type=click.IntRange(min=3),
    metavar="TOKENS",
    help="Where texts are cut.  [default: as many as the model takes]",
)
@click.option(
    "--int8",
    is_flag=True,
    help="Quantise the graph for CPUs to 8 bits: several times as fast, a little less exact. Ranges come from"
    " --data, else from the posts of the demo.",
)
@json_option
def import_model(
    *,
    model: str,
    output: Path,
    name: str | None,
    model_version: str | None,
    labels: str | None,
    data: tuple[Path, ...],
    drop_neutral: bool,
    max_length: int | None,
    int8: bool,
    as_json: bool,
) -> None:
    """Make a model artefact of a published classifier (DistilBERT, BERT or RoBERTa).

    DIR_OR_HUB_ID is a folder with config.json, model.safetensors and tokenizer files as transformers writes
    them, or an id on the Hugging Face hub. It must know all of sadness, joy, love, anger, fear and surprise,
    in any order. What is written answers as transformers does: a logit that is off by more than 0.0001 in
    single precision refuses it.
    """
    try:
        from training.importing.checkpoint import Wish
        from training.importing.order import Order
        from training.importing.run import run
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            [f"moodstream model import needs {error.name}: pip install moodstream[train]"]
        ) from error

    order = Order(
        model=model,
        output=output,
        name=name,
        version=model_version or datetime.now(UTC).strftime("%Y.%m.%d"),
        wish=Wish(labels=labels, max_length=max_length, drop_neutral=drop_neutral, has_data=bool(data)),
        data=data,
        int8=int8,
    )
    result = run(order, say=lambda line: click.echo(line, err=True))
    if as_json:
        click.echo(json.dumps(result.as_json()))
        return
    click.echo(f"Wrote {result.artifact.full_name} to {result.artifact.path}")
    click.echo(f"Serve it: moodstream classify --set model.path={result.artifact.path}")
