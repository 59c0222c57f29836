"""Several chunks in flight: answers in order, no slot used twice at a time, none left behind by an error."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from worker.model.packed.flow import PackedModel
from worker.model.packed.layout import Size


class SumSlot:
    """Answers each row's sum and length; refuses to be used while it is taken."""

    def __init__(self) -> None:
        self.answer: NDArray[np.float32] | None = None
        self.chunks = 0

    def submit(self, ids: NDArray[np.int32], lengths: NDArray[np.int32]) -> None:
        assert self.answer is None, "this slot's answer has not been collected"
        ends = np.cumsum(lengths)
        sums = [ids[end - length : end].sum() for end, length in zip(ends, lengths, strict=True)]
        self.answer = np.stack([sums, lengths], axis=1).astype(np.float32)
        self.chunks += 1

    def collect(self) -> NDArray[np.float32]:
        assert self.answer is not None
        answer, self.answer = self.answer, None
        return answer


def model(slots: Sequence[SumSlot], limit: Size = Size(20, 5)) -> PackedModel:  # noqa: B008 # A tuple.
    return PackedModel(slots, limit=limit, outputs=2, vocabulary=100, max_length=20)


@given(
    rows=st.lists(st.lists(st.integers(0, 99), min_size=1, max_size=20), max_size=60),
    count=st.integers(1, 4),
    tokens=st.integers(20, 70),
)
def test_answers_come_in_the_order_of_the_rows(rows: list[list[int]], count: int, tokens: int) -> None:
    slots = [SumSlot() for _ in range(count)]

    found = model(slots, Size(tokens, 5)).logits(rows)

    assert found.tolist() == [[sum(row), len(row)] for row in rows]
    assert all(slot.answer is None for slot in slots)


def test_all_slots_take_their_turn() -> None:
    slots = [SumSlot() for _ in range(3)]

    model(slots).logits([[1] * 20] * 7)

    assert [slot.chunks for slot in slots] == [3, 2, 2]


def test_a_closed_model_answers_nothing() -> None:
    tested = model([SumSlot()])
    tested.close()

    with pytest.raises(ValueError, match="closed"):
        tested.logits([[1]])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([], "row 8 has 0 tokens"),
        ([1] * 21, "row 8 has 21 tokens: the model takes 1 to 20"),
        ([3, 100], "rows 8 to 8: a token id is not in 0 to 99"),
        ([3, -1], "rows 8 to 8: a token id is not in 0 to 99"),
    ],
)
def test_a_bad_row_is_named_and_the_slots_are_free_again(row: list[int], message: str) -> None:
    slots = [SumSlot() for _ in range(3)]
    tested = model(slots)

    with pytest.raises(ValueError, match=message):
        tested.logits([[1] * 20] * 8 + [row])

    assert all(slot.answer is None for slot in slots)
    assert tested.logits([[1, 2]]).tolist() == [[3, 2]]
