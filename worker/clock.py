"""Time, passed in: logic takes a `Clock`, so that tests decide what time it is."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from typing import Protocol


class Clock(Protocol):
    """Wall-clock and monotonic time, and waiting."""

    def time(self) -> float:
        """Seconds since the epoch."""
        ...

    def monotonic(self) -> float:
        """Seconds that never go back, from an arbitrary start."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait."""
        ...


class SystemClock:
    """The machine's clock."""

    def time(self) -> float:
        return time.time()

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


class ManualClock:
    """A clock that moves only when told to; `sleep` moves it."""

    def __init__(self, start: float = 1_700_000_000.0) -> None:
        self.now = start

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds


def backoff(
    *, first_s: float = 0.1, ceiling_s: float = 5.0, rng: random.Random | None = None
) -> Iterator[float]:
    """Waiting times for retries, in seconds: doubling, bounded, with full jitter.

    Full jitter (a uniform draw below the doubling bound) spreads a fleet's retries best: AWS
    Architecture Blog, "Exponential Backoff And Jitter". A floor of a tenth of the bound keeps a lucky
    draw from spinning.
    """
    draw = rng or random.Random()  # noqa: S311 - jitter, not a secret
    bound = first_s
    while True:
        yield draw.uniform(bound / 10, bound)
        bound = min(bound * 2, ceiling_s)
