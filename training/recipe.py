"""Recipes: everything that decides how a model is trained, in one TOML file."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from training.backtranslation import BackTranslation
from training.lora import Lora
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
    lower_case: bool = False
    """Lower-case the texts before a cased base reads them."""
    deduplicate: bool = True
    """Merge repeated training texts and drop those that stand in a held-out split; published cards do not."""
    batch_size: _Count = 32
    """Rows of a forward pass in training."""
    accumulation: _Count = 1
    """Forward passes whose gradients make one step of the optimiser."""
    padding: Literal["longest", "max_length"] = "longest"
    """Length that the texts of a batch are padded to: the longest of them, or `max_length`."""
    precision: Literal["bf16", "amp", "fp32"] = "bf16"
    """Of the forward and backward pass: `bf16` by autocast, half the time of float32 on a CPU with
    AVX512-BF16 and a third on a GPU; `amp` is float16 by autocast on a GPU and float32 elsewhere."""
    spare_cores: Annotated[int, Meta(ge=0)] = 0
    """Cores left free while texts are tokenised."""
    evaluation_batch_size: _Count = 64
    learning_rate: _Positive = 1e-4
    """The highest, reached after the warm-up."""
    schedule: Literal["linear", "cosine", "constant"] = "linear"
    """How the learning rate falls after the warm-up."""
    warmup: _Share = 0.0
    """Share of the steps in which the learning rate rises from 0."""
    weight_decay: _NotNegative = 0.0
    """Of AdamW (betas 0.9 and 0.999, epsilon 1e-8)."""
    class_weights: Literal["none", "balanced"] = "none"
    """`balanced` weighs each class by the inverse of its share of the training rows."""
    early_stopping: Annotated[int, Meta(ge=0)] = 0
    """Epochs without a better validation loss after which training stops; the best epoch is kept.
    0 trains all epochs and keeps the last."""
    checkpoints: _Count = 2
    """Kept at once. One is written after every epoch; a training that was killed goes on from the last."""
    logging_steps: Annotated[int, Meta(ge=0)] = 0
    """Steps between two entries of the training loss; 0 makes one an epoch."""
    trackers: list[Literal["tensorboard", "wandb"]] = []
    """Where the figures go beside the model card."""
    log_folder: str = "logs"
    """Of TensorBoard, relative to where the command runs."""
    lora: Lora | None = None
    """Train low-rank adapters, and the head, instead of the base's own weights."""
    back_translation: BackTranslation | None = None
    """Add rows of rare emotions, translated there and back."""
    label_smoothing: _Share = 0.0
    """Share of each emotion target that is spread evenly over the six (Szegedy et al. 2016)."""
    dropout: _Share | None = None
    """Of hidden states and attention, instead of the base's own. 0 trains a quarter faster on a CPU."""
    frozen_embeddings: bool = False
    """Leave the word embeddings as the base has them: half the parameters of a small model, and words
    that training never sees keep their place beside those that it moves."""
    augmentation: Annotated[float, Meta(ge=0, le=1)] = 0.0
    """Share of the training texts that are changed in each epoch: typos, mentions, links, marks."""
    teacher_weight: Annotated[float, Meta(ge=0, le=1)] = 0.7
    """Share of a target that is the teachers' answer, where there are teachers; the label has the rest."""
    neutral_weight: _NotNegative = 1.0
    """Weight of the neutral loss beside the emotion loss."""
    seed: int = 42
    int8_tolerance: _Share = 0.005
    """Most accuracy that 8-bit weights may lose on the validation data; more refuses the model."""


def load(recipe: str) -> Recipe:
    """Read a recipe by its name (`default`) or by the path of a `.toml` file.

    Raises:
        ConfigurationError: There is no such recipe, or it is wrong; lists every problem with its line.
    """
    file = Path(recipe) if recipe.endswith(".toml") else FOLDER / f"{recipe}.toml"
    try:
        text = file.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
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
        raise ConfigurationError(
            [f"recipe {recipe}{_line_of(problem, text)}: {problem}" for problem in problems]
        )
    return msgspec.convert(raw, Recipe)


def _line_of(problem: str, text: str) -> str:
    """`, line 3` for a problem that begins with the name of a field; empty where no line sets it."""
    field = problem.partition(":")[0]
    for number, line in enumerate(text.split("\n"), start=1):
        if line.partition("=")[0].strip().strip("[]\"'") == field:
            return f", line {number}"
    return ""


def names() -> list[str]:
    """The recipes that come with moodstream."""
    return sorted(file.stem for file in FOLDER.glob("*.toml"))
