"""`config.json` as transformers writes it: what the packed forward must know, or why it cannot serve it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

Family = Literal["bert", "distilbert", "roberta"]
"""Networks that differ in names and heads only. MiniLM is a small `bert`."""

ACTIVATIONS: Final = frozenset({"gelu", "gelu_new", "gelu_pytorch_tanh", "relu"})
"""By transformers' name (`transformers.activations.ACT2FN`); its "gelu" is the exact one, with erf."""

_DISTILBERT_KEYS = {
    "hidden_size": "dim",
    "num_hidden_layers": "n_layers",
    "num_attention_heads": "n_heads",
    "intermediate_size": "hidden_dim",
    "hidden_act": "activation",
}
_EPS = 1e-12
"""Where the file says nothing: the default of both configurations, and fixed in DistilBERT's code."""


class UnsupportedModelError(Exception):
    """This forward does not know the network; its message says what of it. Never leaves `worker.model`."""


@dataclass(frozen=True)
class EncoderConfig:
    """A post-norm transformer encoder with learned positions, and a classifier over its first token."""

    family: Family
    vocabulary: int
    """Rows of the word table: token ids are below it."""
    width: int
    """Of the residual stream, `hidden_size` (H)."""
    layers: int
    heads: int
    inner: int
    """Width inside the feed-forward part, `intermediate_size` (I)."""
    positions: int
    """Rows of the position table, those before `first_position` included."""
    first_position: int
    """The row of a sequence's first token: 0, but RoBERTa counts from padding_idx + 1.

    transformers skips a padding token in the midst of a text, should a text spell it out; here it counts."""
    eps: float
    """Of every LayerNorm."""
    activation: str
    """One of `ACTIVATIONS`."""

    @property
    def max_length(self) -> int:
        """Most tokens of a sequence that has a position for each."""
        return self.positions - self.first_position

    @property
    def head_width(self) -> int:
        """Of one attention head (D)."""
        return self.width // self.heads


def read_config(path: Path) -> EncoderConfig:
    """What `config.json` says.

    Raises:
        UnsupportedModelError: The network is of another kind, or the file leaves too much unsaid.
    """
    raw = json.loads(path.read_bytes())
    if not isinstance(raw, dict):
        raise UnsupportedModelError(f"{path.name} is no JSON object")
    return parse_config(raw)


def parse_config(raw: Mapping[str, Any]) -> EncoderConfig:
    """As `read_config`, from the file's content."""
    family = _family(raw)
    names = _DISTILBERT_KEYS if family == "distilbert" else {}

    def number(key: str) -> int:
        value = raw.get(names.get(key, key))
        if not isinstance(value, int) or value <= 0:
            raise UnsupportedModelError(f"{names.get(key, key)} is {value!r}")
        return value

    config = EncoderConfig(
        family=family,
        vocabulary=number("vocab_size"),
        width=number("hidden_size"),
        layers=number("num_hidden_layers"),
        heads=number("num_attention_heads"),
        inner=number("intermediate_size"),
        positions=number("max_position_embeddings"),
        first_position=_padding_idx(raw) + 1 if family == "roberta" else 0,
        eps=_EPS if family == "distilbert" else float(raw.get("layer_norm_eps", _EPS)),
        activation=raw.get(names.get("hidden_act", "hidden_act"), "gelu"),
    )
    _check(raw, config)
    return config


def _family(raw: Mapping[str, Any]) -> Family:
    match raw.get("model_type"):
        case "bert":
            return "bert"
        case "distilbert":
            return "distilbert"
        case "roberta":
            return "roberta"
        case other:
            raise UnsupportedModelError(f"the architecture is {other!r}")


def _padding_idx(raw: Mapping[str, Any]) -> int:
    """RoBERTa's padding_idx, from which positions count on; 1 is the default of its configuration."""
    value = raw.get("pad_token_id", 1)
    if not isinstance(value, int) or value < 0:
        raise UnsupportedModelError(f"pad_token_id is {value!r}")
    return value


def _check(raw: Mapping[str, Any], config: EncoderConfig) -> None:
    positions = raw.get("position_embedding_type", "absolute")
    if positions != "absolute":
        raise UnsupportedModelError(f"position_embedding_type is {positions!r}")
    if raw.get("is_decoder") or raw.get("add_cross_attention"):
        raise UnsupportedModelError("it is a decoder")
    if config.width % config.heads:
        raise UnsupportedModelError(f"{config.heads} heads do not divide a width of {config.width}")
    if config.activation not in ACTIVATIONS:
        raise UnsupportedModelError(f"the activation is {config.activation!r}")
    if config.max_length < 1:
        raise UnsupportedModelError(f"{config.positions} positions from {config.first_position} on")
