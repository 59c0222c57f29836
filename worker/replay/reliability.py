"""A reliability diagram as an SVG that needs nothing but itself. Pure.

The form is that of Niculescu-Mizil and Caruana (2005) and Guo et al. (2017): of all answers given with about
the same confidence, how many are right? A calibrated model's bars end where its confidence lies.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from worker.replay.figures import CalibrationBin

_SIDE, _LEFT, _TOP = 360, 56, 44
"""Pixels: of the square plot, and of the space before and above it."""
_WIDTH, _HEIGHT = _LEFT + _SIDE + 20, _TOP + _SIDE + 52


class Palette(NamedTuple):
    """Colours, as SVG takes them; within a page they may be `var(--name)`."""

    bar: str = "#6c9bff"
    line: str = "#d1495b"
    ink: str = "#24292f"
    faint: str = "#c8ced6"
    paper: str = "white"


_PLAIN = Palette()


def reliability_svg(bins: Sequence[CalibrationBin], title: str, palette: Palette = _PLAIN) -> str:
    """Draw the bins of `calibration_bins`.

    Bar: accuracy. Line with dots: mean confidence. Small figure: how many answers the bin holds. Dashes:
    where accuracy equals confidence. A bin without answers has neither bar nor dot.
    """
    filled = [one for one in bins if one.n]
    dots = [((one.low + one.high) / 2, one.confidence) for one in filled]
    path = " ".join(f"{_x(x):.1f},{_y(y):.1f}" for x, y in dots)
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}"'
        f' viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="system-ui, sans-serif" font-size="11"'
        f' fill="{palette.ink}">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="{palette.paper}"/>',
        f'<text x="{_LEFT}" y="18" font-size="13">{escape(title)}</text>',
        f'<text x="{_LEFT}" y="35">{_summary(bins)}</text>',
        *_axes(palette),
        *(_bar(one, palette) for one in filled),
        f'<line x1="{_x(0)}" y1="{_y(0)}" x2="{_x(1)}" y2="{_y(1)}" stroke="{palette.ink}"'
        ' stroke-dasharray="4 4"/>',
        f'<polyline points="{path}" fill="none" stroke="{palette.line}" stroke-width="2"/>',
        *(f'<circle cx="{_x(x):.1f}" cy="{_y(y):.1f}" r="3" fill="{palette.line}"/>' for x, y in dots),
        *(_count(one) for one in filled),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


def _summary(bins: Sequence[CalibrationBin]) -> str:
    """How many answers, and their expected calibration error."""
    n = sum(one.n for one in bins)
    error = sum(one.n * abs(one.accuracy - one.confidence) for one in bins) / max(n, 1)
    return f"n = {n}, ECE = {error:.3f}"


def _axes(palette: Palette) -> list[str]:
    """Frame, grid, ticks and names."""
    parts = [
        f'<rect x="{_LEFT}" y="{_TOP}" width="{_SIDE}" height="{_SIDE}" fill="none"'
        f' stroke="{palette.faint}"/>',
        f'<text x="{_LEFT + _SIDE / 2}" y="{_TOP + _SIDE + 38}" text-anchor="middle">confidence</text>',
        f'<text transform="translate(16 {_TOP + _SIDE / 2}) rotate(-90)" text-anchor="middle">'
        f'accuracy (bars), <tspan fill="{palette.line}">mean confidence (line)</tspan></text>',
    ]
    for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
        parts += [
            f'<line x1="{_x(0)}" y1="{_y(tick)}" x2="{_x(1)}" y2="{_y(tick)}" stroke="{palette.faint}"/>',
            f'<text x="{_LEFT - 6}" y="{_y(tick) + 4}" text-anchor="end">{tick:g}</text>',
            f'<text x="{_x(tick)}" y="{_TOP + _SIDE + 18}" text-anchor="middle">{tick:g}</text>',
        ]
    return parts


def _bar(one: CalibrationBin, palette: Palette) -> str:
    width = _x(one.high) - _x(one.low) - 2
    return (
        f'<rect class="bar" x="{_x(one.low) + 1:.1f}" y="{_y(one.accuracy):.1f}" width="{width:.1f}"'
        f' height="{_SIDE * one.accuracy:.1f}" fill="{palette.bar}"/>'
    )


def _count(one: CalibrationBin) -> str:
    """At the foot of the bar, where it is in nobody's way."""
    middle = _x((one.low + one.high) / 2)
    place = f'x="{middle:.1f}" y="{_y(0) - 4}" text-anchor="middle"'
    return f'<text class="n" {place} font-size="8">{one.n}</text>'


def _x(share: float) -> float:
    return _LEFT + _SIDE * share


def _y(share: float) -> float:
    return _TOP + _SIDE * (1 - share)
