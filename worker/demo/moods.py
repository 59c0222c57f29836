"""How the mood of the demo's posts swings, so that trends have something to show. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from worker.types import LabelName

_MINUTE = 60


class _Swing(NamedTuple):
    """One emotion: a slow wave, and now and then a burst, as of a match won or a network that fails."""

    usual: float
    wave_min: float
    """Length of a wave."""
    phase: float
    burst_every_min: float = math.inf
    burst_min: float = 0.0
    burst: float = 1.0
    """Times the usual."""


_SWINGS: Mapping[LabelName, _Swing] = {
    "sadness": _Swing(1.1, 53, 0.0),
    "joy": _Swing(2.6, 67, 1.0, burst_every_min=47, burst_min=6, burst=3.2),
    "love": _Swing(1.2, 89, 2.0),
    "anger": _Swing(1.2, 71, 3.0, burst_every_min=61, burst_min=9, burst=4.0),
    "fear": _Swing(0.8, 131, 4.0),
    "surprise": _Swing(0.9, 37, 5.0, burst_every_min=43, burst_min=4, burst=3.0),
    "neutral": _Swing(2.6, 113, 6.0),
}


def weights(now: float) -> dict[LabelName, float]:
    """How likely a post written then (seconds since the epoch) means each emotion; not normalised."""
    minute = now / _MINUTE
    return {name: _weight(swing, minute) for name, swing in _SWINGS.items()}


def _weight(swing: _Swing, minute: float) -> float:
    wave = 1 + 0.4 * math.sin(2 * math.pi * minute / swing.wave_min + swing.phase)
    bursting = math.isfinite(swing.burst_every_min) and minute % swing.burst_every_min < swing.burst_min
    return swing.usual * wave * (swing.burst if bursting else 1.0)
