"""Chunks, buckets, and the integers that describe a chunk."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from worker.model.packed.layout import BUCKETS, Chunk, Layout, Size, bucket_sizes, plan, smallest

LONGEST = 50
lengths_of_rows = st.lists(st.integers(1, LONGEST), min_size=1, max_size=200)


def test_a_plan_by_hand() -> None:
    lengths = np.array([4, 4, 3, 9, 12, 1, 1, 1, 1], dtype=np.int32)

    chunks = list(plan(lengths, Size(tokens=10, rows=3)))

    # Two fit by tokens; then one (3 + 9 > 10), one, one alone too long, three by rows, the rest.
    assert chunks == [
        Chunk(0, 2, 8),
        Chunk(2, 3, 3),
        Chunk(3, 4, 9),
        Chunk(4, 5, 12),
        Chunk(5, 8, 3),
        Chunk(8, 9, 1),
    ]


def test_a_plan_of_nothing() -> None:
    assert list(plan(np.zeros(0, dtype=np.int32), Size(10, 3))) == []


@given(rows=lengths_of_rows, tokens=st.integers(LONGEST, 300), most=st.integers(1, 40))
def test_a_plan_holds_every_row_once_and_no_chunk_could_be_longer(
    rows: list[int], tokens: int, most: int
) -> None:
    limit, lengths = Size(tokens, most), np.array(rows, dtype=np.int32)

    chunks = list(plan(lengths, limit))

    assert [index for chunk in chunks for index in range(chunk.start, chunk.stop)] == list(range(len(rows)))
    for chunk in chunks:
        assert chunk.tokens == lengths[chunk.start : chunk.stop].sum()
        assert limit.holds(chunk.size)
        if chunk.stop < len(rows):
            assert not limit.holds(Size(chunk.tokens + rows[chunk.stop], chunk.stop - chunk.start + 1))


def test_buckets() -> None:
    sizes = bucket_sizes()

    assert [size.tokens for size in sizes] == list(BUCKETS)
    assert smallest(sizes, Size(1, 1)) == Size(512, 64)
    assert smallest(sizes, Size(512, 64)) == Size(512, 64)
    assert smallest(sizes, Size(513, 1)) == Size(768, 96)
    assert smallest(sizes, Size(300, 65)) == Size(768, 96)  # Very short rows: too many for the first.
    with pytest.raises(ValueError, match="no bucket holds 40000 tokens"):
        smallest(sizes, Size(40_000, 1))


def test_padding_of_a_bucket_stays_below_a_third_of_it() -> None:
    for below, size in pairwise(BUCKETS):
        assert size - (below + 1) < size / 3


def test_a_chunk_by_hand() -> None:
    layout = Layout(Size(tokens=8, rows=4), max_length=4)
    buffer = np.full(layout.total, -1, dtype=np.int32)

    layout.fill(buffer, np.array([11, 12, 13, 21, 22], dtype=np.int32), np.array([3, 2], dtype=np.int32))

    packed = layout.views(torch.from_numpy(buffer))
    assert packed.ids.tolist() == [11, 12, 13, 21, 22, 0, 0, 0]
    assert packed.begins.tolist() == [0, 0, 0, 3, 3, 5, 6, 7]
    assert packed.ends.tolist() == [3, 3, 3, 5, 5, 6, 7, 8]
    assert packed.firsts.tolist() == [0, 3, 0, 0]
    assert packed.bounds.tolist() == [0, 3, 5, 8, 8, 8, 8]
    assert packed.max_length == 4


@given(rows=lengths_of_rows, more_tokens=st.integers(0, 300), more_rows=st.integers(0, 20))
def test_every_chunk_is_described_whole(rows: list[int], more_tokens: int, more_rows: int) -> None:
    lengths = np.array(rows, dtype=np.int32)
    tokens = int(lengths.sum())
    layout = Layout(Size(tokens + more_tokens, len(rows) + more_rows), LONGEST)
    buffer = np.full(layout.total, -1, dtype=np.int32)

    layout.fill(buffer, np.arange(tokens, dtype=np.int32), lengths)

    packed = layout.views(torch.from_numpy(buffer))
    begins, ends = packed.begins.numpy(), packed.ends.numpy()
    places = np.arange(layout.size.tokens)
    assert ((begins <= places) & (places < ends)).all()
    assert (ends - begins <= LONGEST).all()
    assert (ends[tokens:] - begins[tokens:] == 1).all()
    assert (packed.firsts.numpy()[: len(rows)] == np.cumsum(lengths) - lengths).all()
    bounds = packed.bounds.numpy()
    assert bounds[0] == 0
    assert bounds[-1] == layout.size.tokens
    assert (np.diff(bounds)[: len(rows)] == lengths).all()
    assert ((np.diff(bounds) >= 0) & (np.diff(bounds) <= LONGEST)).all()
    for array in (packed.ids, packed.begins, packed.ends, packed.firsts, packed.bounds):
        assert array.dtype == torch.int32
        assert array.storage_offset() % 4 == 0
