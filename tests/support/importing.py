"""`moodstream model import` in this process, and what transformers says about the same checkpoint."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from click.testing import CliRunner
from click.testing import Result as CommandResult
from numpy.typing import NDArray
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from training.importing.cli import import_model
from worker.errors import ConfigurationError
from worker.model import artifact as artifacts
from worker.model.artifact import Artifact


def command(model: Path | str, output: Path, *more: str | Path) -> CommandResult:
    """Run `moodstream model import` in this process."""
    arguments = [model, "--output", output, "--model-version", "1.0", *more]
    return CliRunner().invoke(import_model, [str(argument) for argument in arguments])


def imported(model: Path | str, output: Path, *more: str | Path) -> Artifact:
    """The artefact of an import that goes well."""
    done = command(model, output, *more)
    assert done.exit_code == 0, (done.output, done.exception)
    return artifacts.load(output)


def problems(model: Path | str, output: Path, *more: str | Path) -> tuple[str, ...]:
    """What an import that is refused says, and that it leaves nothing behind."""
    done = command(model, output, *more)
    assert isinstance(done.exception, ConfigurationError), (done.output, done.exception)
    assert not list(output.parent.glob("*unfinished*"))
    assert not output.exists()
    return done.exception.problems


@torch.inference_mode()
def by_transformers(folder: Path, texts: list[str], max_length: int) -> tuple[Any, NDArray[np.float32]]:
    """Token ids and logits, the way a model's page tells people to get them."""
    tokenizer = AutoTokenizer.from_pretrained(folder)
    names = json.loads((folder / "config.json").read_text()).get("id2label", dict.fromkeys(range(6)))
    model = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=len(names)).eval()
    inputs = tokenizer(texts, padding=True, truncation=True, max_length=max_length, return_tensors="pt")
    rows = tokenizer(texts, truncation=True, max_length=max_length)["input_ids"]
    return rows, model(**inputs).logits.numpy()
