"""The parts of the network in plain PyTorch: what the CPU computes, and what every kernel is checked against.

T tokens, S rows, H the width, N heads of D = H / N. Nothing here waits for the device or depends on values,
so all of it can be captured in a CUDA graph too.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

import torch
import torch.nn.functional as F  # noqa: N812 # Its name everywhere.

from worker.model.packed.layout import Packed
from worker.model.packed.weights import Embedding, Norm

_tanh_gelu = partial(F.gelu, approximate="tanh")
ACTIVATIONS: Final[Mapping[str, Callable[[torch.Tensor], torch.Tensor]]] = MappingProxyType(
    {"gelu": F.gelu, "gelu_new": _tanh_gelu, "gelu_pytorch_tanh": _tanh_gelu, "relu": F.relu}
)
"""Each of `worker.model.packed.config.ACTIVATIONS`."""
_TILE = 128
"""Queries that share one window of keys."""


def embed(packed: Packed, table: Embedding, eps: float) -> torch.Tensor:
    """LayerNorm(word + position) of each token: (T, H)."""
    places = torch.arange(len(packed.ids), device=packed.ids.device, dtype=torch.int32) - packed.begins
    x = F.embedding(packed.ids, table.words) + F.embedding(places, table.positions)
    return F.layer_norm(x, x.shape[-1:], table.norm.weight, table.norm.bias, eps)


def add_norm(x: torch.Tensor, residual: torch.Tensor, norm: Norm, eps: float) -> torch.Tensor:
    """LayerNorm(x + residual), all (n, H). Ba et al. 2016, https://arxiv.org/abs/1607.06450."""
    return F.layer_norm(x + residual, x.shape[-1:], norm.weight, norm.bias, eps)


def attention(qkv: torch.Tensor, packed: Packed, heads: int) -> torch.Tensor:
    """softmax(Q K^T / sqrt(D)) V of each token over its own row, by tiles of neighbouring tokens.

    Vaswani et al. 2017, https://arxiv.org/abs/1706.03762. The rows of a tile's tokens lie within `max_length`
    of it, so each tile looks at one fixed window of keys, and a mask keeps the rows apart.

    Args:
        qkv: (T, 3H) query, key and value of each token.
        packed: Which tokens form a row.
        heads: N.

    Returns:
        (T, H)
    """
    tokens, head_width = len(qkv), qkv.shape[1] // (3 * heads)
    tile, reach = min(_TILE, tokens), packed.max_length - 1
    here = torch.arange(0, tokens, tile, device=qkv.device)[:, None]
    queries = (here + torch.arange(tile, device=qkv.device)).clamp(max=tokens - 1)  # (tiles, tile)
    keys = here + torch.arange(-reach, tile + reach, device=qkv.device)  # (tiles, window)
    seen = (keys[:, None, :] >= packed.begins[queries][:, :, None]) & (
        keys[:, None, :] < packed.ends[queries][:, :, None]
    )
    query, key, value = qkv.view(tokens, 3, heads, head_width).unbind(1)
    window = keys.clamp(0, tokens - 1)
    found = F.scaled_dot_product_attention(
        query[queries].transpose(1, 2),  # (tiles, N, tile, D)
        key[window].transpose(1, 2),
        value[window].transpose(1, 2),
        attn_mask=seen[:, None],
    )
    return found.transpose(1, 2).reshape(-1, heads * head_width)[:tokens]


def first_attention(query: torch.Tensor, kv: torch.Tensor, packed: Packed, heads: int) -> torch.Tensor:
    """Attention of each row's first token alone.

    Args:
        query: (S, H) of the first tokens.
        kv: (T, 2H) key and value of every token.
        packed: Which tokens form a row.
        heads: N.

    Returns:
        (S, H)
    """
    tokens, head_width = len(kv), query.shape[1] // heads
    keys = packed.firsts[:, None] + torch.arange(packed.max_length, device=kv.device)  # (S, max_length)
    seen = keys < packed.ends[packed.firsts][:, None]
    key, value = kv.view(tokens, 2, heads, head_width).unbind(1)
    window = keys.clamp(max=tokens - 1)
    found = F.scaled_dot_product_attention(
        query.view(-1, heads, 1, head_width),
        key[window].transpose(1, 2),
        value[window].transpose(1, 2),
        attn_mask=seen[:, None, None],
    )
    return found.reshape(len(query), -1)
