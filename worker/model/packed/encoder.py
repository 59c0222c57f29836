"""The network: a post-norm encoder over packed tokens, and a classifier over each row's first token.

The last layer is computed for the first tokens alone: the classifier looks at nothing else, and a token's
output of the last layer depends on the others through their keys and values only. The answer is the same; of
a network of 6 layers 13% of the work is saved.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F  # noqa: N812 # Its name everywhere.

from worker.model.packed import plain
from worker.model.packed.config import EncoderConfig
from worker.model.packed.layout import Packed
from worker.model.packed.weights import Embedding, Layer, Linear, Norm, Weights


class Embed(Protocol):
    """As `plain.embed`."""

    def __call__(self, packed: Packed, table: Embedding, eps: float, /) -> torch.Tensor: ...


class AddNorm(Protocol):
    """As `plain.add_norm`."""

    def __call__(
        self, x: torch.Tensor, residual: torch.Tensor, norm: Norm, eps: float, /
    ) -> torch.Tensor: ...


class Attention(Protocol):
    """As `plain.attention`."""

    def __call__(self, qkv: torch.Tensor, packed: Packed, heads: int, /) -> torch.Tensor: ...


class FirstAttention(Protocol):
    """As `plain.first_attention`."""

    def __call__(
        self, query: torch.Tensor, kv: torch.Tensor, packed: Packed, heads: int, /
    ) -> torch.Tensor: ...


@dataclass(frozen=True)
class Parts:
    """What a layer is made of beside matrix products, each in the implementation that suits the machine."""

    embed: Embed = plain.embed
    add_norm: AddNorm = plain.add_norm
    attention: Attention = plain.attention
    first_attention: FirstAttention = plain.first_attention


class Encoder:
    """A classifier of packed rows; its weights say on which device and in which precision.

    Args:
        config: Its shape.
        weights: Moved to their device; the classifier's last product is done in float32 whatever theirs.
        parts: Implementations for that device.
        first_only: Off, the last layer is computed for every token: for checking that it makes no difference.
    """

    def __init__(
        self, config: EncoderConfig, weights: Weights, parts: Parts | None = None, *, first_only: bool = True
    ) -> None:
        self.outputs = weights.outputs
        self._heads = config.heads
        self._width = config.width
        self._eps = config.eps
        self._activation = plain.ACTIVATIONS[config.activation]
        # DistilBERT's classifier has a ReLU where the others have tanh.
        self._squash = torch.relu if config.family == "distilbert" else torch.tanh
        self._weights = weights
        self._final = Linear(*(part.float() for part in weights.head.final))
        self._parts = parts or Parts()
        self._first_only = first_only

    def __call__(self, packed: Packed) -> torch.Tensor:
        """Logits (S, outputs) in float32; those of rows that are not there mean nothing."""
        x = self._parts.embed(packed, self._weights.embedding, self._eps)
        *body, last = self._weights.layers
        for layer in body:
            x = self._layer(x, packed, layer)
        if self._first_only:
            x = self._last_layer(x, packed, last)
        else:
            x = self._layer(x, packed, last).index_select(0, packed.firsts)
        x = self._squash(F.linear(x, *self._weights.head.dense))
        return F.linear(x.float(), *self._final)

    def _layer(self, x: torch.Tensor, packed: Packed, layer: Layer) -> torch.Tensor:
        """A whole layer: (T, H) to (T, H)."""
        qkv = F.linear(x, *layer.qkv)
        return self._rest(self._parts.attention(qkv, packed, self._heads), x, layer)

    def _last_layer(self, x: torch.Tensor, packed: Packed, layer: Layer) -> torch.Tensor:
        """Keys and values of all tokens, all else for the first ones: (T, H) to (S, H)."""
        width, (weight, bias) = self._width, layer.qkv
        first = x.index_select(0, packed.firsts)
        query = F.linear(first, weight[:width], bias[:width])
        kv = F.linear(x, weight[width:], bias[width:])
        return self._rest(self._parts.first_attention(query, kv, packed, self._heads), first, layer)

    def _rest(self, found: torch.Tensor, x: torch.Tensor, layer: Layer) -> torch.Tensor:
        """What follows attention, token by token.

        The products add their own bias (cuBLASLt does in its epilogue), so that on a GPU the activation is
        one pass over memory and each sum with its norm another.
        """
        x = self._parts.add_norm(F.linear(found, *layer.out), x, layer.attention_norm, self._eps)
        inner = self._activation(F.linear(x, *layer.up))
        return self._parts.add_norm(F.linear(inner, *layer.down), x, layer.output_norm, self._eps)
