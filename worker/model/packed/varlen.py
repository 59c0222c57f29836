"""Attention over packed rows by PyTorch's own kernel (FlashAttention), which came with PyTorch 2.10.

Importing this file on an older PyTorch raises ImportError.
"""

from __future__ import annotations

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.attention.varlen import varlen_attn

from worker.model.packed.layout import Packed


def attention(qkv: torch.Tensor, packed: Packed, heads: int) -> torch.Tensor:
    """As `plain.attention`; a token of the padding sees its whole row of padding."""
    tokens, head_width = len(qkv), qkv.shape[1] // (3 * heads)
    query, key, value = qkv.view(tokens, 3, heads, head_width).unbind(1)
    longest = packed.max_length
    return _varlen(query, key, value, packed.bounds, packed.bounds, longest, longest)


def first_attention(query: torch.Tensor, kv: torch.Tensor, packed: Packed, heads: int) -> torch.Tensor:
    """As `plain.first_attention`: rows of one query each; zeros for those that are not there."""
    rows, head_width = len(query), query.shape[1] // heads
    key, value = kv.view(len(kv), 2, heads, head_width).unbind(1)
    one_each = torch.arange(rows + 1, device=query.device, dtype=torch.int32)
    alone = query.view(rows, heads, head_width)
    return _varlen(alone, key, value, one_each, packed.bounds[: rows + 1], 1, packed.max_length)


def _varlen(  # noqa: PLR0917 # As varlen_attn.
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_bounds: torch.Tensor,
    key_bounds: torch.Tensor,
    longest_query: int,
    longest_key: int,
) -> torch.Tensor:
    """(t, N, D) queries over (T, N, D) keys to (t, N * D), scaled by 1 / sqrt(D).

    FlashAttention is asked for, because it defines what rows of no tokens give; newer versions of PyTorch
    would choose cuDNN for some lengths.
    """
    with sdpa_kernel(SDPBackend.FLASH_ATTENTION):
        found = varlen_attn(query, key, value, query_bounds, key_bounds, longest_query, longest_key)
    assert isinstance(found, torch.Tensor)  # noqa: S101 # A pair only where the log-sum-exp is asked for.
    return found.flatten(1)
