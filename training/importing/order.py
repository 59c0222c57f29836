"""What an import is asked to do, and everything that is wrong with it before anything is loaded."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec

from training.data import Source, load_sources
from training.importing import checkpoint as checkpoints
from training.importing.checkpoint import Checkpoint, Wish
from training.importing.measure import trouble
from training.importing.place import find
from worker.errors import ConfigurationError
from worker.model.artifact import Name


@dataclass(frozen=True)
class Order:
    """An import, as it was asked for."""

    model: str
    """A folder, or an id on the Hugging Face hub."""
    output: Path
    """The folder to become the artefact."""
    name: str | None
    """Of the model; None for that of the checkpoint."""
    version: str
    wish: Wish
    data: Sequence[Path]
    """Folders of labelled data sets; may be none."""
    int8: bool
    """Whether the graph for a CPU gets 8 bits."""


def prepared(order: Order) -> tuple[Checkpoint, list[Source]]:
    """The checkpoint and the data sets of an order that can be carried out.

    Raises:
        ConfigurationError: It cannot; lists every problem of checkpoint, data and names.
        DependencyError: The hub cannot be reached.
    """
    problems = [*_name_problems(order)]
    checkpoint, sources = None, []
    try:
        sources = load_sources(order.data) if order.data else []
    except ConfigurationError as error:
        problems += error.problems
    try:
        checkpoint = checkpoints.read(find(order.model), order.wish)
    except ConfigurationError as error:
        problems += error.problems
    if checkpoint is not None and sources:
        problems += trouble([source.splits["validation"] for source in sources], checkpoint.classes)
    if problems or checkpoint is None:
        raise ConfigurationError(problems)
    return checkpoint, sources


def default_name(published: str) -> str:
    """A name for manifest and labels: the last part of the checkpoint's, without what no name may hold."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", published.rpartition("/")[2]).lstrip("._-")
    return plain[:100] or "imported"


def _name_problems(order: Order) -> list[str]:
    problems = []
    for field, value in (("--name", order.name), ("--model-version", order.version)):
        try:
            msgspec.convert(value, Name | None)
        except msgspec.ValidationError as error:
            problems.append(f"{field} {value!r}: {error}")
    if order.output.exists():
        problems.append(f"{order.output} exists: choose another --output, or remove it first")
    return problems
