"""Recipes: everything that decides how a model is trained, in one TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from worker.errors import ConfigurationError
from worker.model.artifact import convert_fields
from worker.model.text import LATEST, VERSIONS

FOLDER = Path(__file__).parent / "recipes"

_Share = Annotated[float, Meta(ge=0, lt=1)]
_Count = Annotated[int, Meta(ge=1)]
_Positive = Annotated[float, Meta(gt=0)]
_NotNegative = Annotated[float, Meta(ge=0)]


class Recipe(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How a model is trained. The names are those of the literature and of transformers."""

    description: str
    """One sentence for the model card: what this recipe is for."""
    base: str = "minilm"
    """Model to fine-tune: `minilm`, a folder, or an id on the Hugging Face hub."""
    max_length: Annotated[int, Meta(ge=3, le=512)] = 128
    """Tokens a text is cut at, the special ones included."""
    text_version: int = LATEST
    """Of `worker.model.text.normalise`."""
    epochs: _Positive = 2
    batch_size: _Count = 32
    """Rows of a forward pass in training."""
    accumulation: _Count = 1
    """Forward passes whose gradients make one step of the optimiser."""
    evaluation_batch_size: _Count = 64
    learning_rate: _Positive = 1e-4
    """The highest, reached after the warm-up."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: _Share = 0.0
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: _NotNegative = 0.0
    """Of AdamW (betas 0.9 and 0.999, epsilon 1e-8)."""
    label_smoothing: _Share = 0.0
    """Share of each emotion target that is spread evenly over the six (Szegedy et al. 2016)."""
    neutral_weight: _NotNegative = 1.0
    """Weight of the neutral loss beside the emotion loss."""
    seed: int = 42
    int8_tolerance: _Share = 0.005
    """Most accuracy that 8-bit weights may lose on the validation data; more refuses the model."""


def load(recipe: str) -> Recipe:
    """Read a recipe by its name (`default`) or by the path of a `.toml` file.

    Raises:
        ConfigurationError: There is no such recipe, or it is wrong; lists every problem.
    """
    file = Path(recipe) if recipe.endswith(".toml") else FOLDER / f"{recipe}.toml"
    try:
        raw = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigurationError(
            [f"recipe {recipe}: {error.strerror}; give a .toml file or one of {', '.join(names())}"]
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"recipe {recipe} is not TOML: {error}"]) from error
    problems = convert_fields(raw, Recipe)
    version = raw.get("text_version", LATEST)
    if version not in VERSIONS:
        problems.append(f"text_version: {version!r} is unknown, known are {sorted(VERSIONS)}")
    if problems:
        raise ConfigurationError([f"recipe {recipe}: {problem}" for problem in problems])
    return msgspec.convert(raw, Recipe)


def names() -> list[str]:
    """The recipes that come with moodstream."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))
