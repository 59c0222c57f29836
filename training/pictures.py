"""The confusion matrix as an SVG that needs nothing but itself. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

_CELL, _LEFT, _TOP = 64, 92, 76
"""Pixels: of a cell's side, and of the space before and above the matrix."""
_INK, _FILL = "#24292f", "#2f6feb"


def confusion_svg(counts: Sequence[Sequence[int]], labels: Sequence[str], title: str) -> str:
    """Draw a confusion matrix: the count in each cell, its colour the share of its row.

    Args:
        counts: (k, k), a row for each truth, a column for each answer.
        labels: The k names.
        title: Above it.
    """
    width, height = _LEFT + _CELL * len(labels) + 16, _TOP + _CELL * len(labels) + 16
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"'
        f' viewBox="0 0 {width} {height}" font-family="system-ui, sans-serif" font-size="12" fill="{_INK}">',
        f'<rect width="{width}" height="{height}" fill="white"/>',
        f'<text x="16" y="22" font-size="14">{escape(title)}</text>',
        f'<text x="16" y="{_TOP - 10}" font-size="11">truth \\ answer</text>',
        *(_name(_LEFT + _CELL * (at + 0.5), _TOP - 10, label, "middle") for at, label in enumerate(labels)),
    ]
    for row, (label, cells) in enumerate(zip(labels, counts, strict=True)):
        parts.append(_name(_LEFT - 8, _TOP + _CELL * (row + 0.5) + 4, label, "end"))
        parts += [_cell(row, column, count, sum(cells)) for column, count in enumerate(cells)]
    return "\n".join([*parts, "</svg>"]) + "\n"


def _name(x: float, y: float, text: str, anchor: str) -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{escape(text)}</text>'


def _cell(row: int, column: int, count: int, total: int) -> str:
    share = count / total if total else 0.0
    x, y = _LEFT + _CELL * column, _TOP + _CELL * row
    ink = "white" if share > 0.5 else _INK
    return (
        f'<rect x="{x}" y="{y}" width="{_CELL - 2}" height="{_CELL - 2}" rx="4" fill="{_FILL}"'
        f' fill-opacity="{max(share, 0.04):.3f}"/>'
        f'<text x="{x + _CELL / 2 - 1}" y="{y + _CELL / 2 + 3}" text-anchor="middle" fill="{ink}">'
        f"{count}</text>"
    )
