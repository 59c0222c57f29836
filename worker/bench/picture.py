"""Throughput against latency as an SVG that needs nothing but itself. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDE, _HIGH, _LEFT, _TOP, _RIGHT = 560, 340, 64, 40, 290
"""Pixels: of the plot, and of the space around it; names stand at the right, each joined to its dot."""
_LINE = 16
"""Pixels from one name to the next."""
_INK, _FAINT, _OURS, _OTHER = "#24292f", "#d8dee4", "#2f6feb", "#8c959f"

Point = tuple[float, float]
"""Latency in milliseconds, posts a second."""


def throughput_svg(points: Mapping[str, Point], *, ours: Sequence[str], title: str) -> str:
    """Draw every system as a dot, both axes logarithmic; ours joined by a line.

    Args:
        points: By the system's name.
        ours: Names of those that are one system at different batch sizes.
        title: Above it.
    """
    x = _Axis([latency for latency, _ in points.values()], _LEFT, _LEFT + _WIDE)
    y = _Axis([speed for _, speed in points.values()], _TOP + _HIGH, _TOP)
    width, height = _LEFT + _WIDE + _RIGHT, _TOP + _HIGH + 48
    line = " ".join(f"{x.at(points[name][0]):.1f},{y.at(points[name][1]):.1f}" for name in ours)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="11" fill="{_INK}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="{_LEFT}" y="22" font-size="14">{escape(title)}</text>',
        *(_vertical(x.at(tick), f"{tick:,g}") for tick in x.ticks),
        *(_horizontal(y.at(tick), f"{tick:,g}") for tick in y.ticks),
        f'<text x="{_LEFT + _WIDE / 2}" y="{height - 8}" text-anchor="middle">milliseconds for a call</text>',
        f'<text transform="translate(14 {_TOP + _HIGH / 2}) rotate(-90)" text-anchor="middle">posts/s</text>',
        f'<polyline points="{line}" fill="none" stroke="{_OURS}" stroke-width="2"/>',
        *(
            _dot(x.at(points[name][0]), y.at(points[name][1]), at, name, _OURS if name in ours else _OTHER)
            for name, at in _beside(points, y).items()
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _beside(points: Mapping[str, Point], y: _Axis) -> dict[str, float]:
    """Where each name stands, in pixels from above: beside its dot, or as near as the others let it."""
    places: dict[str, float] = {}
    free = -math.inf
    for name in sorted(points, key=lambda name: -points[name][1]):
        places[name] = max(y.at(points[name][1]), free)
        free = places[name] + _LINE
    over = max(0.0, free - _LINE - (_TOP + _HIGH))  # the last ones would stand below the plot
    return {name: at - over for name, at in places.items()}


class _Axis:
    """A logarithmic axis from one round number (1, 2 or 5 times a power of ten) to another."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        round_ones = [step * 10.0**power for power in range(-6, 10) for step in (1, 2, 5)]
        low = max(one for one in round_ones if one <= min(values))
        high = min(one for one in round_ones if one >= max(values) and one > low)
        self.ticks = [one for one in round_ones if low <= one <= high]
        self._low, self._high = math.log10(low), math.log10(high)
        self._start, self._end = start, end

    def at(self, value: float) -> float:
        """Where a value stands, in pixels."""
        share = (math.log10(value) - self._low) / (self._high - self._low)
        return self._start + share * (self._end - self._start)


def _vertical(x: float, name: str) -> str:
    return (
        f'<line x1="{x:.1f}" y1="{_TOP}" x2="{x:.1f}" y2="{_TOP + _HIGH}" stroke="{_FAINT}"/>'
        f'<text x="{x:.1f}" y="{_TOP + _HIGH + 16}" text-anchor="middle">{name}</text>'
    )


def _horizontal(y: float, name: str) -> str:
    return (
        f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{_LEFT + _WIDE}" y2="{y:.1f}" stroke="{_FAINT}"/>'
        f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{name}</text>'
    )


def _dot(x: float, y: float, name_y: float, name: str, colour: str) -> str:
    edge = _LEFT + _WIDE
    line = f"M{x:.1f} {y:.1f} L{edge} {name_y:.1f} h8"
    return (
        f'<path d="{line}" fill="none" stroke="{colour}" stroke-width="0.5"/>'
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        f'<text x="{edge + 12}" y="{name_y + 4:.1f}" fill="{colour}">{escape(name)}</text>'
    )
