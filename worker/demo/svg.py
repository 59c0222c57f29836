"""The demo's picture as an SVG that stands alone and looks the same everywhere."""

from __future__ import annotations

import html
import io
import re

from rich.cells import cell_len
from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

_NIGHT = TerminalTheme(
    (15, 19, 26),
    (214, 220, 228),
    # Only the background and the text: every other colour is given in full.
    [(15, 19, 26), (255, 95, 86), (79, 214, 190), (255, 209, 102), (108, 155, 255)],
)
_FONT_FACE = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)
_TEXT = re.compile(r'<text ([^>]*) x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)"([^>]*)>([^<]*)</text>')
_FONTS = "ui-monospace, Menlo, DejaVu Sans Mono, Liberation Mono"
_SIZE = "font-size: 20.3px"
"""These fonts' glyphs are 0.6 of their size wide, Fira Code's 0.61: frames close without being stretched."""
_SPACE = "\u00a0"


def as_svg(drawn: RenderableType, title: str, columns: int) -> str:
    """What rich draws at this width, in the frame of a window."""
    console = Console(
        record=True, width=columns, file=io.StringIO(), force_terminal=True, color_system="truecolor"
    )
    console.print(drawn)
    svg = console.export_svg(title=title, theme=_NIGHT)
    # Rich's template loads a font from elsewhere: a picture should need nothing but itself.
    svg = _FONT_FACE.sub("", svg).replace("Fira Code", _FONTS).replace("font-size: 20px", _SIZE)
    return _TEXT.sub(_placed, svg)


def _placed(match: re.Match[str]) -> str:
    """Text without the spaces around it, which not every program keeps, at the place where it begins."""
    style, x, y, length, rest, escaped = match.groups()
    text = html.unescape(escaped)
    cell = float(length) / (cell_len(text) or 1)
    bare = text.strip(_SPACE)
    left = float(x) + cell * (len(text) - len(text.lstrip(_SPACE)))
    width = cell * cell_len(bare)
    return (
        f'<text {style} x="{left:.1f}" {y} textLength="{width:.1f}"{rest}>'
        f"{html.escape(bare, quote=False)}</text>"
    )
