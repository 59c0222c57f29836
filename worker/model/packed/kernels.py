# Triton's language only looks like Python. The functions that start the kernels are typed.
# mypy: ignore-errors
# ruff: noqa: ANN001, ANN202, PLR0917
"""The parts of the network as Triton kernels: what PyTorch would do in several passes over memory, in one.

They depend on no size of a chunk but T and S, which a bucket fixes, so they fit CUDA graphs; they need no
tuning run, and compile in a few seconds at the first call. Without a GPU they run in Triton's interpreter
(`TRITON_INTERPRET=1`) and compile for one; that is how they are tested.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl

from worker.model.packed.layout import Packed
from worker.model.packed.weights import Embedding, Norm

_NORM_ROWS = 4
"""Tokens a program normalises: with one, too few bytes are in flight; at H = 384 four fill its registers."""

_TILE = 64
"""Queries a program of `attention` answers, and keys it reads at a time. At 25 tokens a row, 64 queries see
about 90 keys: two steps. Larger tiles read less and compute more for nothing."""

_FIRST_KEYS = 32
"""Keys a program of `first_attention` reads at a time: most tweets at once."""

_FUSED = {"enable_fp_fusion": True}
"""a * b + c as one instruction. Said at each launch: where it is left to the default, Triton 3.9 warns."""


@triton.jit
def _normalised(x, inside, columns, gamma, beta, width: tl.constexpr, eps: tl.constexpr):
    """LayerNorm of (rows, block) in float32, of whose columns the first `width` count."""
    mean = tl.sum(x, axis=1) / width
    centred = tl.where(inside, x - mean[:, None], 0.0)
    variance = tl.sum(centred * centred, axis=1) / width
    scale = tl.load(gamma + columns, mask=columns < width, other=0.0).to(tl.float32)
    shift = tl.load(beta + columns, mask=columns < width, other=0.0).to(tl.float32)
    return centred / tl.sqrt(variance + eps)[:, None] * scale[None, :] + shift[None, :]


@triton.jit
def _embed_kernel(
    ids, begins, words, positions, gamma, beta, out, tokens,
    width: tl.constexpr, eps: tl.constexpr, rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) * rows + tl.arange(0, rows)
    columns = tl.arange(0, block)
    live = token < tokens
    inside = live[:, None] & (columns < width)[None, :]
    word = tl.load(ids + token, mask=live, other=0).to(tl.int64)
    place = token - tl.load(begins + token, mask=live, other=0)
    x = tl.load(words + word[:, None] * width + columns[None, :], mask=inside, other=0.0).to(tl.float32)
    x += tl.load(positions + place[:, None] * width + columns[None, :], mask=inside, other=0.0).to(tl.float32)
    y = _normalised(x, inside, columns, gamma, beta, width, eps)
    tl.store(out + token[:, None] * width + columns[None, :], y.to(out.dtype.element_ty), mask=inside)


def embed(packed: Packed, table: Embedding, eps: float) -> torch.Tensor:
    """As `plain.embed`."""
    tokens, width = len(packed.ids), table.words.shape[1]
    out = torch.empty((tokens, width), dtype=table.words.dtype, device=table.words.device)
    _embed_kernel[(triton.cdiv(tokens, _NORM_ROWS),)](
        packed.ids, packed.begins, table.words, table.positions, *table.norm, out, tokens,
        width=width, eps=eps, rows=_NORM_ROWS, block=triton.next_power_of_2(width), **_FUSED,
    )  # fmt: skip
    return out


@triton.jit
def _add_norm_kernel(
    x, residual, gamma, beta, out, tokens,
    width: tl.constexpr, eps: tl.constexpr, rows: tl.constexpr, block: tl.constexpr,
):  # fmt: skip
    token = tl.program_id(0) * rows + tl.arange(0, rows)
    columns = tl.arange(0, block)
    inside = (token < tokens)[:, None] & (columns < width)[None, :]
    at = token[:, None] * width + columns[None, :]
    total = tl.load(x + at, mask=inside, other=0.0).to(tl.float32)
    total += tl.load(residual + at, mask=inside, other=0.0).to(tl.float32)
    y = _normalised(total, inside, columns, gamma, beta, width, eps)
    tl.store(out + at, y.to(out.dtype.element_ty), mask=inside)


def add_norm(x: torch.Tensor, residual: torch.Tensor, norm: Norm, eps: float) -> torch.Tensor:
    """As `plain.add_norm`, the sum kept in float32."""
    tokens, width = x.shape
    out = torch.empty_like(x)
    _add_norm_kernel[(triton.cdiv(tokens, _NORM_ROWS),)](
        x, residual, *norm, out, tokens,
        width=width, eps=eps, rows=_NORM_ROWS, block=triton.next_power_of_2(width), **_FUSED,
    )  # fmt: skip
    return out


@triton.jit
def _attention_kernel(
    qkv, begins, ends, out, tokens, scale,
    heads: tl.constexpr, head_width: tl.constexpr, block: tl.constexpr, tile: tl.constexpr,
):  # fmt: skip
    """One head of `tile` neighbouring tokens, with a running softmax over the keys of all rows among them.

    Rows lie end to end: the first token's row begins first and the last one's ends last. Milakov & Gimelshein
    2018, https://arxiv.org/abs/1805.02867, and Dao et al. 2022, https://arxiv.org/abs/2205.14135.
    """
    query_at = tl.program_id(0) * tile + tl.arange(0, tile)
    columns = tl.arange(0, block)
    wide = columns < head_width
    live = query_at < tokens
    stride = 3 * heads * head_width
    base = qkv + tl.program_id(1) * head_width + columns[None, :]
    begin = tl.load(begins + query_at, mask=live, other=tokens)
    end = tl.load(ends + query_at, mask=live, other=0)
    query = tl.load(base + query_at[:, None] * stride, mask=live[:, None] & wide[None, :], other=0.0)

    best = tl.full((tile,), -1.0e30, tl.float32)  # Finite: -inf - -inf is no number.
    total = tl.zeros((tile,), tl.float32)
    mixed = tl.zeros((tile, block), tl.float32)
    stop = tl.max(end, axis=0)
    for start in range(tl.min(begin, axis=0), stop, tile):
        key_at = start + tl.arange(0, tile)
        there = (key_at < stop)[:, None] & wide[None, :]
        keys = base + heads * head_width + key_at[:, None] * stride
        key = tl.load(keys, mask=there, other=0.0)
        scores = tl.dot(query, tl.trans(key), input_precision="ieee") * scale
        seen = (key_at[None, :] >= begin[:, None]) & (key_at[None, :] < end[:, None])
        scores = tl.where(seen, scores, float("-inf"))
        better = tl.maximum(best, tl.max(scores, axis=1))
        weight = tl.exp2(scores - better[:, None])
        fade = tl.exp2(best - better)
        total = total * fade + tl.sum(weight, axis=1)
        value = tl.load(keys + heads * head_width, mask=there, other=0.0)
        mixed = mixed * fade[:, None] + tl.dot(weight.to(value.dtype), value, input_precision="ieee")
        best = better

    mixed = mixed / tl.where(live, total, 1.0)[:, None]
    at = query_at[:, None] * (heads * head_width) + tl.program_id(1) * head_width + columns[None, :]
    tl.store(out + at, mixed.to(out.dtype.element_ty), mask=live[:, None] & wide[None, :])


def attention(qkv: torch.Tensor, packed: Packed, heads: int) -> torch.Tensor:
    """As `plain.attention`."""
    tokens, width = len(qkv), qkv.shape[1] // 3
    out = torch.empty((tokens, width), dtype=qkv.dtype, device=qkv.device)
    _attention_kernel[(triton.cdiv(tokens, _TILE), heads)](
        qkv, packed.begins, packed.ends, out, tokens, _scale(width // heads),
        heads=heads, head_width=width // heads, block=_block(width // heads), tile=_TILE,
        num_warps=4, **_FUSED,
    )  # fmt: skip
    return out


@triton.jit
def _first_attention_kernel(
    queries, kv, firsts, ends, out, scale,
    heads: tl.constexpr, head_width: tl.constexpr, block: tl.constexpr, step: tl.constexpr,
):  # fmt: skip
    """One head of one row's first token."""
    columns = tl.arange(0, block)
    wide = columns < head_width
    at = tl.program_id(0) * (heads * head_width) + tl.program_id(1) * head_width + columns
    begin = tl.load(firsts + tl.program_id(0))
    stop = tl.load(ends + begin)
    query = tl.load(queries + at, mask=wide, other=0.0).to(tl.float32) * scale
    base = kv + tl.program_id(1) * head_width + columns[None, :]

    best = -1.0e30
    total = 0.0
    mixed = tl.zeros((block,), tl.float32)
    for start in range(begin, stop, step):
        key_at = start + tl.arange(0, step)
        there = (key_at < stop)[:, None] & wide[None, :]
        keys = base + key_at[:, None] * (2 * heads * head_width)
        key = tl.load(keys, mask=there, other=0.0).to(tl.float32)
        scores = tl.where(key_at < stop, tl.sum(key * query[None, :], axis=1), float("-inf"))
        better = tl.maximum(best, tl.max(scores, axis=0))
        weight = tl.exp2(scores - better)
        fade = tl.exp2(best - better)
        total = total * fade + tl.sum(weight, axis=0)
        value = tl.load(keys + heads * head_width, mask=there, other=0.0).to(tl.float32)
        mixed = mixed * fade + tl.sum(weight[:, None] * value, axis=0)
        best = better

    tl.store(out + at, (mixed / total).to(out.dtype.element_ty), mask=wide)


def first_attention(query: torch.Tensor, kv: torch.Tensor, packed: Packed, heads: int) -> torch.Tensor:
    """As `plain.first_attention`."""
    rows, width = query.shape
    out = torch.empty_like(query)
    _first_attention_kernel[(rows, heads)](
        query, kv, packed.firsts, packed.ends, out, _scale(width // heads),
        heads=heads, head_width=width // heads, block=_block(width // heads), step=_FIRST_KEYS,
        num_warps=1, **_FUSED,
    )  # fmt: skip
    return out


def _scale(head_width: int) -> float:
    """1 / sqrt(D), and log2(e): the kernels raise 2 instead of e, which is one instruction."""
    return math.log2(math.e) / math.sqrt(head_width)


def _block(head_width: int) -> int:
    """Columns of a head in registers: a power of two, and at least what a matrix product of Triton takes."""
    return max(16, triton.next_power_of_2(head_width))
