"""The pictures of report.html: SVG that needs nothing but the page's colours. Pure.

All text that goes in is escaped here; colours are the page's variables, so that light and dark need one
picture.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

import numpy as np

from worker.replay.figures import CalibrationBin
from worker.replay.history.report import Step
from worker.replay.paired import Interval
from worker.replay.reliability import Palette, reliability_svg

_WIDTH, _LEFT, _RIGHT = 960, 52, 12
_TOP, _PLOT, _GAP, _BARS = 12, 190, 14, 46
"""Pixels: above the lines, of the lines, between them and the bars below, of the bars."""
_TICKS = 6

_Scale = Callable[[float], float]
"""Epoch seconds to pixels."""


def reliability(bins: Sequence[CalibrationBin], title: str, colour: str) -> str:
    """A reliability diagram in the page's colours."""
    palette = Palette(
        bar=f"var(--{colour})", line="var(--warn)", ink="var(--ink)", faint="var(--line)", paper="none"
    )
    return reliability_svg(bins, title, palette)


def intervals(rows: Sequence[tuple[str, Interval]]) -> str:
    """Differences with their 95% intervals around a line at zero, in points (hundredths)."""
    reach = max([1e-4, *(max(abs(one.low), abs(one.high)) for _, one in rows)]) * 1.1
    height, left, width = 34 * len(rows) + 34, 240, 560

    def x(value: float) -> float:
        return left + width * (value + reach) / (2 * reach)

    parts = [
        f'<svg viewBox="0 0 {left + width + 150} {height}" role="img" class="chart">',
        f'<line x1="{x(0):.1f}" y1="4" x2="{x(0):.1f}" y2="{height - 26}" stroke="var(--muted)"'
        ' stroke-dasharray="3 3"/>',
        f'<text x="{x(0):.1f}" y="{height - 8}" text-anchor="middle" class="tick">equal</text>',
    ]
    for number, (name, one) in enumerate(rows):
        y = 22 + 34 * number
        parts += [
            f'<text x="{left - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>',
            f'<line x1="{x(one.low):.1f}" y1="{y}" x2="{x(one.high):.1f}" y2="{y}" stroke="var(--accent)"'
            ' stroke-width="3" stroke-linecap="round"/>',
            f'<circle cx="{x(one.value):.1f}" cy="{y}" r="6" fill="var(--accent)"/>',
            f'<text x="{left + width + 12}" y="{y + 4}" class="tick">{100 * one.value:+.2f} points</text>',
        ]
    return "".join([*parts, "</svg>"])


def over_time(steps: Sequence[Step], step_s: int, colours: Mapping[str, str]) -> str:
    """A line for each contestant's accuracy, or one for the agreement, over bars of how many posts there are.

    Args:
        steps: In time; those far from the others (wrong years) are left out of the picture.
        step_s: Length of each, in seconds.
        colours: The page's colour of each contestant.
    """
    shown = usual(steps)
    first, last = shown[0].start.timestamp(), shown[-1].start.timestamp() + step_s
    drawn = _drawn(shown, colours)
    low = min((value for _, points in drawn.values() for _, value in points), default=0.0)
    floor = max(0.0, np.floor(low * 10 - 0.2) / 10)

    def x(at: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * (at - first) / max(last - first, 1)

    def y(value: float) -> float:
        return float(_TOP + _PLOT * (1 - (value - floor) / max(1 - floor, 1e-9)))

    height = _TOP + _PLOT + _GAP + _BARS + 26
    parts = [f'<svg viewBox="0 0 {_WIDTH} {height}" role="img" class="chart">']
    for value in np.linspace(floor, 1, 6):
        parts += [
            f'<line x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y(value):.1f}" y2="{y(value):.1f}"'
            ' stroke="var(--line)"/>',
            f'<text x="{_LEFT - 8}" y="{y(value) + 4:.1f}" text-anchor="end" class="tick">{value:.0%}</text>',
        ]
    for who, (colour, points) in drawn.items():
        parts += _line(who, colour, [(x(s.start.timestamp() + step_s / 2), y(v), s, v) for s, v in points])
    parts += _bars(shown, x, step_s)
    parts += _dates(shown, x, height)
    return "".join([*parts, "</svg>"])


def _drawn(
    steps: Sequence[Step], colours: Mapping[str, str]
) -> dict[str, tuple[str, list[tuple[Step, float]]]]:
    """Name, colour and points of each line."""
    lines = {who: [(step, step.accuracy[who]) for step in steps if who in step.accuracy] for who in colours}
    found = {who: (colours[who], points) for who, points in lines.items() if points}
    if found:
        return found
    return {"agreement": ("accent", [(step, step.agreement) for step in steps if step.agreement is not None])}


def usual(steps: Sequence[Step]) -> Sequence[Step]:
    """The steps that hold the middle 98% of the posts."""
    counts = np.array([step.n for step in steps])
    upto = np.cumsum(counts) / counts.sum()
    inside = (upto > 0.01) & (upto - counts / counts.sum() < 0.99)
    return [step for step, within in zip(steps, inside.tolist(), strict=True) if within]


def _line(who: str, colour: str, points: Sequence[tuple[float, float, Step, float]]) -> list[str]:
    path = " ".join(f"{x:.1f},{y:.1f}" for x, y, _, _ in points)
    return [
        f'<polyline points="{path}" fill="none" stroke="var(--{colour})" stroke-width="2"/>',
        *(
            f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="var(--{colour})"><title>'
            f"{escape(who)}: {value:.1%}, {step.start:%Y-%m-%d %H:%M} UTC</title></circle>"
            for x, y, step, value in points
        ),
    ]


def _bars(steps: Sequence[Step], x: _Scale, step_s: int) -> list[str]:
    most = max(step.n for step in steps)
    foot = _TOP + _PLOT + _GAP + _BARS
    parts = []
    for step in steps:
        left, right = x(step.start.timestamp()), x(step.start.timestamp() + step_s)
        tall = _BARS * step.n / most
        parts.append(
            f'<rect x="{left:.1f}" y="{foot - tall:.1f}" width="{max(right - left - 1, 1):.1f}"'
            f' height="{tall:.1f}" fill="var(--faint)"><title>{step.n:,} posts,'
            f" {step.start:%Y-%m-%d %H:%M} UTC</title></rect>"
        )
    top = f'<text x="{_LEFT - 8}" y="{foot - _BARS + 10}" text-anchor="end" class="tick">{most:,}</text>'
    return [*parts, top]


def _dates(steps: Sequence[Step], x: _Scale, height: int) -> list[str]:
    chosen = [steps[int(i)] for i in np.unique(np.linspace(0, len(steps) - 1, _TICKS).round())]
    days = (steps[-1].start - steps[0].start).days
    form = "%H:%M" if days < 1 else "%b %d %H:%M" if days < 7 else "%Y-%m-%d"
    return [
        f'<text x="{x(step.start.timestamp()):.1f}" y="{height - 6}" class="tick">{step.start:{form}}</text>'
        for step in chosen
    ]
