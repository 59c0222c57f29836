"""Rows to chunks, chunks to buckets, and what a chunk looks like in memory. Pure, and mostly numpy.

A CUDA graph has fixed shapes, so a chunk is filled up to the next bucket (`Size`). Everything that describes
a chunk lies in one buffer of int32, so that one copy brings it to the device:

    ids     (T,)      token ids of the rows end to end, then zeros
    begins  (T,)      for each token, where its row begins; padding is a row of its own, token by token
    ends    (T,)      for each token, where its row ends (exclusive)
    firsts  (S,)      for each row, where it begins; 0 for rows that are not there
    bounds  (S+D+1,)  where rows begin, and the last one ends; here padding forms up to D long rows, and rows
                      that are not there are empty

`begins` and `ends` are what our own kernels read, and `bounds` is what PyTorch's varlen_attn takes (its
`cu_seq_q`). T is the bucket's tokens, S its rows, D = ceil(T / longest row).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

TOKENS_PER_ROW: Final = 8
"""A bucket of T tokens takes T / 8 rows. Tweets have about 25 tokens, so tokens run out first; the last layer
computes every row that a bucket can take, and at this ratio the empty ones cost under 1% of the whole."""

BUCKETS: Final = (512, 768, 1024, 1536, 2048, 3072, 4096, 6144, 8192, 12288, 16384, 24576, 32768)
"""Tokens. Steps of 1.33 and 1.5: the padding of a call's last chunk stays below a third of it."""

_ALIGNMENT = 4
"""Integers: arrays begin at multiples of 16 bytes, as vector loads like them."""


class Size(NamedTuple):
    """What a bucket holds, or a chunk needs."""

    tokens: int
    rows: int

    def holds(self, other: Size) -> bool:
        """Whether the other fits in here."""
        return other.tokens <= self.tokens and other.rows <= self.rows


def bucket_sizes(tokens: Sequence[int] = BUCKETS, tokens_per_row: int = TOKENS_PER_ROW) -> list[Size]:
    """The buckets, smallest first."""
    return [Size(count, max(1, count // tokens_per_row)) for count in sorted(tokens)]


def smallest(sizes: Sequence[Size], needed: Size) -> Size:
    """The first of `sizes` (ascending) that holds what is needed.

    Raises:
        ValueError: None does.
    """
    for size in sizes:
        if size.holds(needed):
            return size
    raise ValueError(f"no bucket holds {needed.tokens} tokens in {needed.rows} rows")


class Chunk(NamedTuple):
    """Rows `start` to `stop` (exclusive) of a call, computed together."""

    start: int
    stop: int
    tokens: int

    @property
    def size(self) -> Size:
        """What it needs."""
        return Size(self.tokens, self.stop - self.start)


def plan(lengths: NDArray[np.int32], limit: Size) -> Iterator[Chunk]:
    """Cut rows, in their order, into chunks as large as `limit` allows.

    A row longer than the limit gets a chunk of its own.

    Args:
        lengths: (n,) tokens of each row.
        limit: The most tokens and rows of a chunk.
    """
    ends = np.cumsum(lengths, dtype=np.int64)
    start, taken = 0, 0
    while start < len(lengths):
        fitting = int(np.searchsorted(ends, taken + limit.tokens, side="right"))
        stop = max(start + 1, min(fitting, start + limit.rows))
        end = int(ends[stop - 1])
        yield Chunk(start, stop, end - taken)
        start, taken = stop, end


class Packed(NamedTuple):
    """A chunk as the network sees it; int32 tensors as described at the top of this file."""

    ids: torch.Tensor
    begins: torch.Tensor
    ends: torch.Tensor
    firsts: torch.Tensor
    bounds: torch.Tensor
    max_length: int
    """No row is longer."""


class Layout:
    """Where the five arrays of a bucket lie in one buffer of int32.

    Args:
        size: Of the bucket.
        max_length: Tokens of the longest row that can come.
    """

    def __init__(self, size: Size, max_length: int) -> None:
        self.size = size
        self.max_length = max_length
        dummies = -(-size.tokens // max_length)
        self.total = 0
        self._ids = self._next(size.tokens)
        self._begins = self._next(size.tokens)
        self._ends = self._next(size.tokens)
        self._firsts = self._next(size.rows)
        self._bounds = self._next(size.rows + dummies + 1)

    def _next(self, count: int) -> slice:
        start = self.total
        self.total = -(-(start + count) // _ALIGNMENT) * _ALIGNMENT
        return slice(start, start + count)

    def fill(self, buffer: NDArray[np.int32], ids: NDArray[np.int32], lengths: NDArray[np.int32]) -> None:
        """Write a chunk into a buffer of at least `total` integers.

        Args:
            buffer: Overwritten.
            ids: (t,) token ids of all rows end to end; t <= T.
            lengths: (s,) tokens of each row, each in 1 to `max_length`; s <= S.
        """
        tokens, rows = len(ids), len(lengths)
        bounds = buffer[self._bounds]
        bounds[0] = 0
        np.cumsum(lengths, out=bounds[1 : rows + 1])
        padding = np.arange(1, len(bounds) - rows, dtype=np.int32) * self.max_length
        np.minimum(tokens + padding, self.size.tokens, out=bounds[rows + 1 :])

        buffer[self._ids][:tokens] = ids
        buffer[self._ids][tokens:] = 0
        begins, ends = buffer[self._begins], buffer[self._ends]
        begins[:tokens] = np.repeat(bounds[:rows], lengths)
        ends[:tokens] = np.repeat(bounds[1 : rows + 1], lengths)
        begins[tokens:] = np.arange(tokens, self.size.tokens)
        np.add(begins[tokens:], 1, out=ends[tokens:])
        firsts = buffer[self._firsts]
        firsts[:rows] = bounds[:rows]
        firsts[rows:] = 0

    def views(self, buffer: torch.Tensor) -> Packed:
        """The arrays of a filled buffer on any device, without a copy."""
        return Packed(
            ids=buffer[self._ids],
            begins=buffer[self._begins],
            ends=buffer[self._ends],
            firsts=buffer[self._firsts],
            bounds=buffer[self._bounds],
            max_length=self.max_length,
        )
