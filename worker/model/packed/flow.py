"""A call from beginning to end: cut into chunks, several of them in flight, answers in the order of the rows.

1. The lengths of all rows are looked at, and chunks planned.
2. For each chunk: its ids are laid end to end and handed to the next slot, which begins to compute.
3. When every slot is taken, the oldest chunk's answer is waited for first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import cycle
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worker.model.packed.layout import Chunk, Size, plan
from worker.model.rows import ids_of, lengths_of


class Slot(Protocol):
    """Memory for one chunk on its way through the device."""

    def submit(self, ids: NDArray[np.int32], lengths: NDArray[np.int32]) -> None:
        """Start computing a chunk: (t,) ids of its rows end to end, (s,) their lengths. Copies both."""
        ...

    def collect(self) -> NDArray[np.float32]:
        """Wait for the chunk's logits, (s, outputs); they are overwritten by the next `submit`."""
        ...


class PackedModel:
    """A classifier, loaded and warm. Not for several threads at once.

    Args:
        slots: How many chunks may be in flight; the more, the more memory.
        limit: The largest chunk.
        outputs: Logits of a row.
        vocabulary: Token ids are below it. Checked, because a GPU would read other memory instead.
        max_length: Tokens of the longest row.
    """

    def __init__(
        self, slots: Sequence[Slot], *, limit: Size, outputs: int, vocabulary: int, max_length: int
    ) -> None:
        self.outputs = outputs
        self.limit = limit
        self._slots = list(slots)
        self._vocabulary = vocabulary
        self._max_length = max_length

    def logits(self, rows: Sequence[Sequence[int]]) -> NDArray[np.float32]:
        """Logits (n, outputs) of `n` rows of token ids, in the order of the rows.

        Raises:
            ValueError: A row is empty or too long, or an id is outside the vocabulary; the model is closed.
        """
        if not self._slots:
            raise ValueError("the model is closed")
        answer = np.empty((len(rows), self.outputs), dtype=np.float32)
        lengths = lengths_of(rows, self._max_length)
        flying: deque[tuple[Chunk, Slot]] = deque()
        try:
            for chunk, slot in zip(plan(lengths, self.limit), cycle(self._slots), strict=False):
                if len(flying) == len(self._slots):
                    _land(flying, answer)
                part = rows[chunk.start : chunk.stop]
                ids = ids_of(part, self._vocabulary, tokens=chunk.tokens, first=chunk.start)
                slot.submit(ids, lengths[chunk.start : chunk.stop])
                flying.append((chunk, slot))
            while flying:
                _land(flying, answer)
        finally:
            for _, slot in flying:  # After an error: nobody wants these answers, but the slots must be free.
                slot.collect()
        return answer

    def close(self) -> None:
        """Give the memory back."""
        self._slots.clear()


def _land(flying: deque[tuple[Chunk, Slot]], answer: NDArray[np.float32]) -> None:
    """Wait for the oldest chunk and put its answer where it belongs."""
    chunk, slot = flying.popleft()
    answer[chunk.start : chunk.stop] = slot.collect()
