"""How sure a share is, how far two answerers agree, and what several tests at once leave of their p. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worker.replay.paired import Interval

_Z = 1.959963984540054
"""Of the normal distribution, for 95%."""


def wilson(part: int, whole: int) -> Interval:
    """A share with its 95% interval (Wilson 1927), which also holds near 0 and 1.

    Raises:
        ValueError: there is nothing to take a share of.
    """
    if not whole:
        raise ValueError("no share of nothing")
    share, z2 = part / whole, _Z**2
    middle = (share + z2 / (2 * whole)) / (1 + z2 / whole)
    half = _Z * math.sqrt(share * (1 - share) / whole + z2 / (4 * whole**2)) / (1 + z2 / whole)
    # At 0 and at 1 the bound is the share itself, but for rounding.
    return Interval(share, max(0.0, min(share, middle - half)), min(1.0, max(share, middle + half)))


def kappa(table: NDArray[np.integer]) -> float | None:
    """Agreement beyond chance (Cohen 1960) of a table (labels, labels); None where chance explains all."""
    n = table.sum()
    observed = np.trace(table) / n
    chance = float((table.sum(axis=0) / n) @ (table.sum(axis=1) / n))
    return None if chance >= 1 else float((observed - chance) / (1 - chance))


def holm(p: Sequence[float]) -> list[float]:
    """The p of several tests, each as if it were the only one (Holm 1979).

    Below a threshold, at most as many are false in all as for one test alone.
    """
    adjusted = [0.0] * len(p)
    highest = 0.0
    for rank, index in enumerate(sorted(range(len(p)), key=lambda one: p[one])):
        highest = max(highest, min(1.0, (len(p) - rank) * p[index]))
        adjusted[index] = highest
    return adjusted
