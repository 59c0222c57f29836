"""From rows of ids to padded arrays that waste little: sorted by length, cut by a token budget."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_KEYS_AT_ONCE = 16
"""How many keys attention takes at a time where a vector holds 16 numbers in single precision (AVX-512)."""
_SPARE = 4
"""Widths end short of a whole block of keys by this, or at its end."""
_FEW_ROWS = 4
"""Not worth sharing: two inferences of two rows take a third more of the processor than one of four."""


class Padded(NamedTuple):
    """One micro-batch: what a padded model call takes."""

    rows: NDArray[np.intp]
    """(b,) which rows of the whole batch these are."""
    input_ids: NDArray[np.int64]
    """(b, length), padded with `pad_id`."""
    attention_mask: NDArray[np.int64]
    """(b, length), 1 for a token and 0 for padding."""


def micro_batches(
    rows: Sequence[Sequence[int]],
    *,
    max_rows: int,
    max_tokens: int,
    pad_id: int = 0,
    streams: int | None = None,
) -> Iterator[Padded]:
    """Cut `rows` into padded micro-batches of similar length, longest first.

    Sorting leaves almost no padding: in arrival order two thirds of a tweet batch are padding. A micro-batch
    has at most `max_rows` rows and `max_tokens` ids with padding, but always at least one row.

    Args:
        rows: Token ids.
        max_rows: Of a micro-batch.
        max_tokens: Of a micro-batch, padding included.
        pad_id: What rows are filled up with.
        streams: Parallel inferences of a runtime that keeps kernels and buffers for every shape it meets.
            Each micro-batch then is an equal share of what is left or a few rows, so that all streams end at
            nearly the same time, and has one of few shapes: a power of two of rows, a length of `padded`.
            And it holds rows of like length (`shortest_beside`), so that an answer does not depend on what
            else is asked.
    """
    if not rows:
        return
    lengths = np.fromiter(map(len, rows), dtype=np.intp, count=len(rows))
    order = np.argsort(-lengths, kind="stable")
    lengths = lengths[order]
    flat = np.fromiter(
        chain.from_iterable(rows[i] for i in order.tolist()), dtype=np.int64, count=int(lengths.sum())
    )
    ends = np.cumsum(lengths)
    start, taken = 0, 0
    while start < len(order):
        left, longest = len(order) - start, int(lengths[start])
        if streams is None:
            most = min(left, max_rows, max_tokens // longest)
        else:
            alike = int(np.count_nonzero(lengths[start:] >= shortest_beside(longest)))
            longest = padded(longest)
            share = max(-(-left // streams), _FEW_ROWS)
            most = _power_of_two(min(alike, share, max_rows, max_tokens // longest))
        stop = start + max(1, most)
        mask = np.arange(longest) < lengths[start:stop, None]
        input_ids = np.full(mask.shape, pad_id, dtype=np.int64)
        input_ids[mask] = flat[taken : ends[stop - 1]]
        yield Padded(order[start:stop], input_ids, mask.astype(np.int64))
        start, taken = stop, int(ends[stop - 1])


def padded(length: int) -> int:
    """The next width of few: in steps of 4 up to 32, then of 8 up to 64, then of 16.

    A row that fills its last block of keys but for `_SPARE` gets the whole block, and any other a part of it.
    A runtime adds up a whole block and a part of one in another order, and one sum in a thousand then is
    rounded to another 8-bit number: logits differ by up to 0.04.
    """
    whole = -(-length // _KEYS_AT_ONCE) * _KEYS_AT_ONCE
    if length > whole - _SPARE:
        return whole
    step = 4 if length <= 32 else 8 if length <= 64 else 16
    return min(-(-length // step) * step, whole - _SPARE)


def shortest_beside(length: int) -> int:
    """The shortest row that gets what `padded` promises it in the width of a row of `length`.

    Lengths from 13 to 28 go together, from 29 to 44, and so on: the widths for these are whole blocks for the
    shortest four, and parts of the last block for the others.
    """
    return (length + _SPARE - 1) // _KEYS_AT_ONCE * _KEYS_AT_ONCE - _SPARE + 1


def _power_of_two(most: int) -> int:
    """The largest that is not above `most`; 0 for none."""
    return 1 << most.bit_length() - 1 if most > 0 else 0


def read_pad_id(config: Path) -> int:
    """The id that fills rows up, by a `config.json` of transformers.

    Not any would do: RoBERTa counts its positions over all ids but this one. Where the file says nothing
    it is the default of the architecture.
    """
    raw = json.loads(config.read_bytes())
    stated = raw.get("pad_token_id")
    if isinstance(stated, int) and stated >= 0:
        return stated
    return 1 if raw.get("model_type") == "roberta" else 0
