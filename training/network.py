"""A base made ready to be fine-tuned as a recipe says, and a plain network again afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from training.lora import ensure_padding, loading_options, merged, with_adapters
from training.model import Base, find_base, load_model, load_tokenizer, prepare_for_training
from training.recipe import Recipe

if TYPE_CHECKING:
    from tokenizers import Tokenizer
    from transformers import PreTrainedModel


@dataclass(frozen=True)
class Network:
    """What is trained."""

    base: Base
    tokenizer: Tokenizer
    model: Any
    """transformers' network, or peft's adapters around it."""
    pad_id: int
    """What fills up a short text."""
    adapted: bool
    """Whether adapters learn in the base's place."""

    def plain(self) -> PreTrainedModel:
        """The network that was trained, with nothing around it; asked for once, at the end."""
        return merged(self.model) if self.adapted else cast("PreTrainedModel", self.model)


def open_network(recipe: Recipe, labels: Sequence[str]) -> Network:
    """Load the recipe's base with a fresh head for `labels`, and set what the recipe says about it.

    Raises:
        ConfigurationError: The base or its adapters cannot be used.
        DependencyError: The base is not on this machine and the hub does not give it.
    """
    base = find_base(recipe.base)
    tokenizer = load_tokenizer(base, recipe.max_length, lower_case=recipe.lower_case)
    model = load_model(base, labels, **({} if recipe.lora is None else loading_options(recipe.lora)))
    pad_id = ensure_padding(model, tokenizer)
    prepare_for_training(model, dropout=recipe.dropout, frozen_embeddings=recipe.frozen_embeddings)
    if recipe.lora is None:
        return Network(base, tokenizer, model, pad_id, adapted=False)
    return Network(base, tokenizer, with_adapters(model, recipe.lora), pad_id, adapted=True)
