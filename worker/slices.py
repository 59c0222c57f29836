"""Which labels people are asked to review, and which slice a reviewed label counts in. Pure.

Accuracy is only unbiased over labels that chance chose: people correct what looks wrong, and reviewing
where the model is unsure finds more errors than there are. So a label belongs to slices by what it is, never
by who looked at it: the page that offers labels for review and the role that measures accuracy come to the
same answer, in any process and at any time.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, field
from typing import Literal, Protocol

from worker.types import Scores

Slice = Literal["random", "low_margin"]
SLICES: tuple[Slice, ...] = ("random", "low_margin")

_PERSON = b"moodstream-slice"
"""Keeps this hash apart from any other of the same input (BLAKE2's `person`, at most 16 bytes)."""
_BYTES = 8
_KEYED = hashlib.blake2b(digest_size=_BYTES, person=_PERSON)
"""Copied for each input, which takes half as long as making one."""
_RANGE = 1 << 8 * _BYTES


class Answered(Protocol):
    """What a label says that its slices depend on."""

    @property
    def input(self) -> str: ...
    @property
    def scores(self) -> Scores: ...
    @property
    def neutral(self) -> float: ...


@dataclass(frozen=True, slots=True)
class Review:
    """How large the slices are. A label may belong to both, to one or to none."""

    random_share: float
    """Of all labels, 0 to 1: the random slice. A larger share holds every label of a smaller one."""
    low_margin: float
    """Labels whose `margin` is below this are of the low-margin slice."""
    _end: bytes = field(init=False, repr=False, compare=False)
    """The first digest whose draw is not below `random_share`: comparing bytes takes half as long."""

    def __post_init__(self) -> None:
        first = math.ceil(self.random_share * _RANGE)
        end = first.to_bytes(_BYTES, "big") if first < _RANGE else b"\xff" * (_BYTES + 1)
        object.__setattr__(self, "_end", end)

    def slices(self, label: Answered) -> tuple[Slice, ...]:
        """The slices that a label belongs to."""
        close = margin(label.scores, label.neutral) < self.low_margin
        if _digest(label.input) < self._end:
            return SLICES if close else ("random",)
        return ("low_margin",) if close else ()


def draw(input: str) -> float:  # noqa: A002 - the label's own word
    """A number from 0 to below 1, uniform over inputs and the same for ever for one input.

    Args:
        input: `topic/partition/offset`, as a label carries it; unique, so every label is drawn once.
    """
    return int.from_bytes(_digest(input), "big") / _RANGE


def _digest(input: str) -> bytes:  # noqa: A002 - as above
    drawn = _KEYED.copy()
    drawn.update(input.encode())
    return drawn.digest()


def margin(scores: Scores, neutral: float) -> float:
    """How far the most probable of the seven answers is ahead of the second, 0 to 1.

    The gate's probability comes first: neutral has `neutral`, and each emotion its share of the rest. Without
    that, every confidently neutral post would look like a close call between emotions.
    """
    rest = 1 - neutral
    answers = [  # written out: every label that is counted comes through here
        neutral,
        rest * scores.sadness,
        rest * scores.joy,
        rest * scores.love,
        rest * scores.anger,
        rest * scores.fear,
        rest * scores.surprise,
    ]
    answers.sort()
    return answers[-1] - answers[-2]
