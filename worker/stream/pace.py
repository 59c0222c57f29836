"""How large a batch may be so that every post in it is labelled in time. Pure; knows no Kafka.

A batch is the more efficient the larger it is, and all of its posts wait for its last one. Without a promise
the token budget of the settings stands. With one (`batch.slo_ms`), the model is measured when it is loaded,
and batches are cut so that what a post may have to wait for still fits into the promise.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec
import numpy as np

_SHARE = 0.25
"""Of the promise for one batch in the model. A post that comes just after a batch was cut waits for that one,
for the one at the model's door and for its own; the last quarter is for Kafka."""
_LATE = 0.5
"""Of the promise: a post as old as this when it is taken waits for two more batches and comes late."""
_DANGER = 0.8
"""Of the promise: when posts are committed as late as this, it is about to be broken."""
_WASTE = 0.1
"""Of a batch's time that is not spent on its word pieces. Cut smaller, batches would outrun the machine just
when it is slow, and every post would come late."""
_WASTE_LATE = 0.05
"""The same of a batch of late posts: what a still larger one could save at most."""
_ROUNDING = 1.01
_SMOOTHING = 0.1
"""Weight of the newest batch in how slow the machine is now; ten batches forget half of what was."""
_SLOWNESS = (0.5, 3.0)
"""Bounds of it: one odd batch must not stop the stream."""


class CostCurve(msgspec.Struct, frozen=True):
    """What a batch costs the model."""

    base_s: float
    """Seconds for any batch."""
    token_s: float
    """Seconds for each word piece in it."""

    def seconds(self, tokens: int) -> float:
        """What a batch of that many word pieces takes."""
        return self.base_s + self.token_s * tokens

    def tokens(self, seconds: float) -> int:
        """The most word pieces that take no longer; at least one."""
        return max(1, int((seconds - self.base_s) / self.token_s))

    def worthwhile(self, waste: float) -> int:
        """Word pieces from which on less than that share of the time is the same for every batch."""
        return max(1, math.ceil(self.base_s * (1 / waste - 1) / self.token_s))


def fit(measured: Sequence[tuple[int, float]]) -> CostCurve:
    """The line of least squares through (word pieces, seconds), rising and never below zero.

    Relative errors count, so that a large batch does not drown what small ones cost.

    Args:
        measured: Two or more different sizes.
    """
    tokens, seconds = np.array(measured, dtype=np.float64).T
    weights = 1 / np.maximum(seconds, 1e-9)
    slope, base = np.polyfit(tokens, seconds, 1, w=weights)
    if base < 0:
        base, slope = 0.0, float(np.sum(weights**2 * tokens * seconds) / np.sum((weights * tokens) ** 2))
    return CostCurve(float(base), max(float(slope), 1e-12))


def measure(
    classify: Callable[[Sequence[Sequence[int]]], object],
    posts: Sequence[Sequence[int]],
    sizes: Sequence[int],
    monotonic: Callable[[], float],
    tries: int = 3,
) -> list[tuple[int, float]]:
    """Time a warm model on batches of `sizes` posts; the fastest of some tries each.

    Args:
        classify: The model.
        posts: Token ids of some posts, used again and again.
        sizes: Posts in a batch.
        monotonic: A clock, in seconds.
        tries: How often each size is timed.

    Returns:
        Word pieces and seconds of each size.
    """
    found = []
    for size in sizes:
        rows = [posts[index % len(posts)] for index in range(size)]
        best = float("inf")
        for _ in range(tries):
            start = monotonic()
            classify(rows)
            best = min(best, monotonic() - start)
        found.append((sum(map(len, rows)), best))
    return found


class Pace(Protocol):
    """How many word pieces a batch may have."""

    def budget(self, age_s: float) -> int:
        """So many that a batch is worth the model's time, and the most that it may have.

        Args:
            age_s: Since the oldest post at hand was written to Kafka, in seconds.
        """
        ...

    def in_danger(self, age_s: float) -> bool:
        """Whether posts come so late that all that can wait must.

        Args:
            age_s: From when the oldest post of a batch was written to Kafka until the batch was committed.
        """
        ...

    def took(self, tokens: int, seconds: float) -> None:
        """The model has answered a batch of so many word pieces in so many seconds."""
        ...


class Budget:
    """Always the same."""

    def __init__(self, tokens: int) -> None:
        self._tokens = tokens

    def budget(self, age_s: float) -> int:
        """The budget."""
        return self._tokens

    def in_danger(self, age_s: float) -> bool:
        """Never: nothing is promised."""
        return False

    def took(self, tokens: int, seconds: float) -> None:
        """Changes nothing."""


class Promise:
    """As many as keep the promise; more only for posts that come late in any case.

    Larger batches take less time a post, so that a backlog shrinks as long as the model is not outrun. They
    grow only as far as that gains something: while a batch of everything that waits is in the model, as much
    comes again, and the stream would stay late for ever at a load that it could serve in time.
    """

    def __init__(self, slo_s: float, curve: CostCurve, most: int) -> None:
        self._slo_s = slo_s
        self._curve = curve
        self._most = most
        self._slowness = 1.0

    def budget(self, age_s: float) -> int:
        """What the model answers in its share of the promise, as fast as it is now; late posts share more."""
        in_time = self._curve.tokens(self._slo_s * _SHARE / self._slowness)
        waste = _WASTE_LATE if age_s > self._slo_s * _LATE else _WASTE
        return min(self._most, max(in_time, self._curve.worthwhile(waste)))

    def in_danger(self, age_s: float) -> bool:
        """Whether little of the promise was left."""
        return age_s > self._slo_s * _DANGER

    def within(self, tokens: int) -> bool:
        """Whether a batch of so many word pieces takes no more than its share of the promise."""
        return self._curve.seconds(tokens) <= self._slo_s * _SHARE * _ROUNDING

    def took(self, tokens: int, seconds: float) -> None:
        """Learn how slow the machine is beside what was measured."""
        if not tokens:
            return
        low, high = _SLOWNESS
        now = min(max(seconds / self._curve.seconds(tokens), low), high)
        self._slowness += _SMOOTHING * (now - self._slowness)
