"""Throughput against latency as an SVG that needs nothing but itself. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape

_WIDE, _HIGH, _LEFT, _TOP, _RIGHT = 560, 340, 64, 40, 250
"""Pixels: of the plot, and of the space around it; names stand at the right."""
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
        *(_vertical(x.at(tick), f"{tick:g}") for tick in x.ticks),
        *(_horizontal(y.at(tick), f"{tick:,g}") for tick in y.ticks),
        f'<text x="{_LEFT + _WIDE / 2}" y="{height - 8}" text-anchor="middle">milliseconds for a call</text>',
        f'<text transform="translate(14 {_TOP + _HIGH / 2}) rotate(-90)" text-anchor="middle">posts/s</text>',
        f'<polyline points="{line}" fill="none" stroke="{_OURS}" stroke-width="2"/>',
        *(
            _dot(x.at(latency), y.at(speed), name, _OURS if name in ours else _OTHER)
            for name, (latency, speed) in points.items()
        ),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


class _Axis:
    """A logarithmic axis over whole powers of ten."""

    def __init__(self, values: Sequence[float], start: float, end: float) -> None:
        self._low = math.floor(math.log10(min(values)))
        self._high = max(math.ceil(math.log10(max(values))), self._low + 1)
        self._start, self._end = start, end

    @property
    def ticks(self) -> list[float]:
        """The powers of ten."""
        return [10.0**power for power in range(self._low, self._high + 1)]

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


def _dot(x: float, y: float, name: str, colour: str) -> str:
    return (
        f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}"/>'
        f'<text x="{x + 8:.1f}" y="{y + 4:.1f}" fill="{colour}">{escape(name)}</text>'
    )
