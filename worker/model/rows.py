"""Rows of token ids as flat arrays, checked: who computes them would read other memory and not fail."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

Rows = Sequence[Sequence[int]]


def lengths_of(rows: Rows, longest: int) -> NDArray[np.int32]:
    """(n,) tokens of each row.

    Raises:
        ValueError: a row is empty, or longer than `longest`.
    """
    lengths = np.fromiter(map(len, rows), dtype=np.int32, count=len(rows))
    wrong = np.flatnonzero((lengths < 1) | (lengths > longest))
    if wrong.size:
        row = int(wrong[0])
        raise ValueError(f"row {row} has {lengths[row]} tokens: the model takes 1 to {longest}")
    return lengths


def ids_of(rows: Rows, vocabulary: int, *, tokens: int, first: int = 0) -> NDArray[np.int32]:
    """(tokens,) the ids of all rows, one after the other.

    Args:
        rows: One or more.
        vocabulary: Ids are below it.
        tokens: Of all rows together.
        first: The number of the first row, for the message.

    Raises:
        ValueError: an id is outside the vocabulary.
    """
    ids = np.fromiter(chain.from_iterable(rows), dtype=np.int32, count=tokens)
    if ids.view(np.uint32).max() >= vocabulary:  # Unsigned: a negative id is a very large one.
        raise ValueError(
            f"rows {first} to {first + len(rows) - 1}: a token id is not in 0 to {vocabulary - 1}"
        )
    return ids
