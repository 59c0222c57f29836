"""How far figures of one model could be from the truth, from how few texts they were made. Pure."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from worker.replay.figures import macro_f1
from worker.replay.paired import Interval, percentile_interval

_Z = 1.959963984540054
"""97.5% quantile of the standard normal distribution: 95% two-sided."""


def wilson(hits: int, n: int) -> Interval:
    """A share with Wilson's 95% score interval (Wilson 1927, JASA 22:209-212).

    Unlike hits/n +- 1.96 standard errors it stays within 0 and 1 and keeps its promise for few trials and for
    shares near an end (Agresti and Coull 1998).

    Raises:
        ValueError: there was no trial.
    """
    if n <= 0:
        raise ValueError("a share of nothing")
    share, z2 = hits / n, _Z * _Z
    scale = 1 + z2 / n
    centre = (share + z2 / (2 * n)) / scale
    half = _Z / scale * math.sqrt(share * (1 - share) / n + z2 / (4 * n * n))
    return Interval(share, max(0.0, centre - half), min(1.0, centre + half))


def bootstrap_macro_f1(confusion: NDArray[np.int64], *, draws: int = 1000, seed: int = 0) -> Interval:
    """Macro F1 with its 95% percentile interval (Efron and Tibshirani 1993, ch. 13).

    Rows of one cell of the table are alike, so drawing texts with replacement is drawing how many fall into
    each cell: a multinomial.

    Args:
        confusion: (classes, classes) counts; row: the truth, column: the answer.
        draws: How many times.
        seed: Of the draws.

    Raises:
        ValueError: there is no text.
    """
    n = int(confusion.sum())
    if not n:
        raise ValueError("no text to draw from")
    drawn = np.random.default_rng(seed).multinomial(n, confusion.ravel() / n, size=draws)
    tables = np.concatenate([confusion.ravel()[None, :], drawn]).reshape(-1, *confusion.shape)
    return percentile_interval(macro_f1(tables))
