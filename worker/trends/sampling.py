"""Which posts are kept to be looked at. Pure functions.

Of each hour and emotion, and of each hour and tracked query, the few posts with the smallest hash of their
place in Kafka are kept: a bottom-k sample (Cohen and Kaplan 2007), which is random with regard to what they
say and the same however often and in whatever order they are read. So are those of each hour and slice
(`worker.slices`) that people are asked to review.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from worker.trends.store import Sample


HIGHEST_RANK = 0xFFFF_FFFF
_KNUTH = 2_654_435_761


def rank_of(place: str) -> int:
    """The hash of a post's `topic/partition/offset`: 32 bits; the smallest are kept.

    Knuth's multiplicative hash over a CRC, whose own values of neighbouring offsets are neighbours too.
    """
    return zlib.crc32(place.encode()) * _KNUTH & HIGHEST_RANK


def ranks_of(places: Iterable[str]) -> NDArray[np.int64]:
    """`rank_of` many places."""
    found = np.array([zlib.crc32(place.encode()) for place in places], np.uint64)
    return (found * np.uint64(_KNUTH) & np.uint64(HIGHEST_RANK)).astype(np.int64)


def drawn(samples: Iterable[Sample], limit: int) -> list[Sample]:
    """The newest of them, newest first."""
    return sorted(samples, key=lambda sample: (sample.created_at, sample.label_ref), reverse=True)[:limit]


def in_turn(samples: Iterable[Sample], full: Iterable[int], limit: int) -> list[Sample]:
    """Those that are to be reviewed first, by their rank: who stops anywhere has reviewed a random part.

    Args:
        samples: Of all hours.
        full: The greatest rank of each hour that keeps as many as it may. Beyond the smallest of these a busy
            hour has lost labels that a quiet one still has, so nothing beyond it is given: every label of
            the hours together has the same chance.
        limit: At most so many.
    """
    last = min(full, default=HIGHEST_RANK)
    ranked = ((rank_of(sample.input), sample.label_ref, sample) for sample in samples)
    return [sample for _, _, sample in sorted(one for one in ranked if one[0] <= last)][:limit]
