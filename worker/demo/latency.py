"""Percentiles of a stream without end in a few hundred numbers."""

from __future__ import annotations

import math
from collections import Counter

_STEP = 1.02
"""Each bucket's upper bound is 2 % above the last: no percentile is off by more."""
_LEAST_MS = 0.01


class Latencies:
    """Counts latencies in buckets that grow by 2 %."""

    def __init__(self) -> None:
        self._buckets: Counter[int] = Counter()
        self._count = 0

    def add(self, seconds: float) -> None:
        """One more."""
        milliseconds = max(seconds * 1000, _LEAST_MS)
        self._buckets[math.ceil(math.log(milliseconds, _STEP))] += 1
        self._count += 1

    def percentile_ms(self, percent: float) -> float:
        """The milliseconds that `percent` of all do not exceed; 0 where there is none."""
        left = math.ceil(self._count * percent / 100)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                return round(_STEP**bucket, 1)
        return 0.0
