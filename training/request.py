"""What a training is asked to do: a recipe, data, and where the artefact goes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from training.recipe import Recipe, load
from worker.errors import ConfigurationError
from worker.model.artifact import Name


@dataclass(frozen=True)
class Request:
    """A training that can be started: everything here has been checked."""

    recipe: Recipe
    recipe_name: str
    data: Sequence[Path]
    """Folders of data sets; none means dair-ai/emotion from the hub."""
    output: Path
    """The folder to become the artefact; it does not exist yet."""
    name: str
    version: str


def make_request(
    recipe: str,
    data: Sequence[Path],
    *,
    changes: Mapping[str, str | int | float | None] | None = None,
    output: Path | None = None,
    name: str | None = None,
    version: str | None = None,
) -> Request:
    """Read the recipe and fill in what was not given.

    Args:
        recipe: Name or path of a recipe.
        data: As in `Request`.
        changes: Values that replace the recipe's own; None leaves it.
        output: As in `Request`; `runs/NAME` where not given.
        name: Of the model; the recipe's where not given.
        version: Of the model; today's date where not given.

    Raises:
        ConfigurationError: The recipe or a name is wrong, or the output folder exists.
    """
    given = {key: value for key, value in (changes or {}).items() if value is not None}
    request = Request(
        recipe=msgspec.structs.replace(load(recipe), **given),
        recipe_name=Path(recipe).stem,
        data=data,
        output=output or Path("runs") / (name or Path(recipe).stem),
        name=Path(recipe).stem if name is None else name,
        version=datetime.now(UTC).strftime("%Y.%m.%d") if version is None else version,
    )
    problems = [
        f"model {field} {value!r}: {error}"
        for field, value in (("name", request.name), ("version", request.version))
        if (error := _name_problem(value))
    ]
    if request.output.exists():
        problems.append(f"{request.output} exists: choose another --output, or remove it first")
    if problems:
        raise ConfigurationError(problems)
    return request


def _name_problem(value: str) -> str:
    """Why a manifest may not hold a name; empty where it may."""
    try:
        msgspec.convert(value, Name)
    except msgspec.ValidationError as error:
        return str(error)
    return ""
