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
    teachers: Sequence[Path]
    """Folders of artefacts whose answers soften the labels."""
    unlabelled: Sequence[Path]
    """Files of texts, one a line, that only teachers label."""
    extra: Sequence[Path]
    """Files of `moodstream quality export`: more training rows."""
    eec: Path | None
    """The Equity Evaluation Corpus, to measure bias with."""
    output: Path
    """The folder to become the artefact; it does not exist yet."""
    fresh: bool
    """Whether to throw away the checkpoints of a training that was killed, instead of going on from them."""
    name: str
    version: str


def make_request(
    recipe: str,
    data: Sequence[Path],
    *,
    teachers: Sequence[Path] = (),
    unlabelled: Sequence[Path] = (),
    extra: Sequence[Path] = (),
    eec: Path | None = None,
    changes: Mapping[str, str | int | float | None] | None = None,
    output: Path | None = None,
    fresh: bool = False,
    name: str | None = None,
    version: str | None = None,
) -> Request:
    """Read the recipe and fill in what was not given.

    Args:
        recipe: Name or path of a recipe.
        data: As in `Request`.
        teachers: As in `Request`.
        unlabelled: As in `Request`.
        extra: As in `Request`.
        eec: As in `Request`.
        changes: Values that replace the recipe's own; None leaves it.
        output: As in `Request`; `runs/NAME` where not given.
        fresh: As in `Request`.
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
        teachers=teachers,
        unlabelled=unlabelled,
        extra=extra,
        eec=eec,
        output=output or Path("runs") / (name or Path(recipe).stem),
        fresh=fresh,
        name=Path(recipe).stem if name is None else name,
        version=datetime.now(UTC).strftime("%Y.%m.%d") if version is None else version,
    )
    problems = [
        f"model {field} {value!r}: {error}"
        for field, value in (("name", request.name), ("version", request.version))
        if (error := _name_problem(value))
    ]
    if request.unlabelled and not request.teachers:
        problems.append("unlabelled texts need somebody to label them: give --teacher DIR, or leave them out")
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
