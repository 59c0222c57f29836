"""How the demo looks: pure functions to what rich draws, and to one line where there is no terminal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rich.align import Align
from rich.bar import Bar
from rich.box import ROUNDED, SIMPLE_HEAD
from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from worker.demo.tally import Row, Totals
from worker.demo.trends import Mood
from worker.types import LABELS

COLOURS = {
    "sadness": "#6c9bff",
    "joy": "#ffd166",
    "love": "#ff7eb6",
    "anger": "#ff5f56",
    "fear": "#b79cff",
    "surprise": "#4fd6be",
    "neutral": "#a3adba",
}
_BAD = "#e0885a"
_ACCENT = "#8ec7ff"
_BARS = "▏▎▍▌▋▊▉█"
_SCORE_CELLS = 6
_INVISIBLE = str.maketrans("", "", "\ufe0e\ufe0f\u200d")
"""Variation selectors and joiners: terminals do not agree on the width of what they join."""
_FRAME_LINES = 12
"""Lines of the picture that are not posts, and one for the cursor."""
_TREND_LINES = 4
"""Of the trend's panel: its frame, a line above, the note."""


class Places(NamedTuple):
    """The addresses shown."""

    page: str
    api: str
    trends_metrics: str
    worker_metrics: str
    own_posts: str
    """A command that sends some."""


def own_posts(bootstrap: str) -> str:
    """What to type in another terminal to send posts of one's own to the demo's broker."""
    return f"moodstream send FILE --bootstrap {bootstrap}"


class View(NamedTuple):
    """All that a picture shows."""

    totals: Totals
    feed: Sequence[Row]
    """The posts shown, newest first."""
    mood: Mood | None
    """None while the API does not answer."""
    elapsed_s: float
    state: str
    places: Places


class Feed:
    """The posts shown: one more each time it is asked, so that a person can read them."""

    def __init__(self, size: int = 60) -> None:
        self._shown: deque[Row] = deque(maxlen=size)
        self._seen = 0

    def advance(self, totals: Totals, room: int) -> Sequence[Row]:
        """The rows for `room` lines, newest first."""
        answered = totals.labelled + totals.dead
        fresh = totals.rows[-min(len(totals.rows), answered - self._seen) :] if answered > self._seen else ()
        self._seen = answered
        if fresh:
            self._shown.appendleft(self._choice(fresh, room))
        return self.shown(room)

    def shown(self, room: int) -> Sequence[Row]:
        """The same again."""
        return list(self._shown)[:room]

    def _choice(self, fresh: Sequence[Row], room: int) -> Row:
        """The latest; a dead letter where none is to be seen; and no post twice."""
        visible = list(self._shown)[:room]
        if all(row.label is not None for row in visible[: room - 1]):
            dead = next((row for row in fresh if row.label is None), None)
            if dead is not None:
                return dead
        posts = [row for row in fresh if row.label is not None] or list(fresh)
        texts = {row.text for row in visible}
        return next((row for row in reversed(posts) if row.text not in texts), posts[-1])


def room(height: int) -> int:
    """How many posts fit on a terminal of this height."""
    return max(6, min(24, height - _FRAME_LINES))


def picture(view: View, posts: int) -> RenderableType:
    """The whole picture, with `posts` lines of posts."""
    body = Table.grid(expand=True, padding=(0, 0))
    body.add_column(ratio=3)
    body.add_column(ratio=1, min_width=30)
    height = posts + 4
    body.add_row(_posts(view.feed, height), _trend(view.mood, height))
    return Group(_head(view), body, _foot(view.places))


def line(view: View) -> str:
    """The same in one line, for where there is no terminal."""
    totals = view.totals
    mood = ", ".join(f"{name} {n}" for name, n in view.mood.counts.items() if n) if view.mood else "no answer"
    return (
        f"{view.elapsed_s:5.0f} s  {totals.taken} in, {totals.labelled} labelled, {totals.dead} dead, "
        f"{totals.tweets_per_s:g} tweets/s, p50 {totals.p50_ms:g} ms, p99 {totals.p99_ms:g} ms; trend: {mood}"
    )


def _head(view: View) -> RenderableType:
    totals = view.totals
    figures = (
        (f"{totals.taken:,}", "in"),
        (f"{totals.labelled:,}", "labelled"),
        (f"{totals.dead:,}", "dead letters"),
        (f"{totals.tweets_per_s:,.1f}", "tweets/s"),
        (f"{totals.p50_ms:,.0f} ms", "p50 latency"),
        (f"{totals.p99_ms:,.0f} ms", "p99 latency"),
    )
    table = Table.grid(expand=True)
    for _ in figures:
        table.add_column(justify="center", ratio=1)
    table.add_row(*(Text(value, style=f"bold {_ACCENT}") for value, _ in figures))
    table.add_row(*(Text(name, style="dim") for _, name in figures))
    minutes, seconds = divmod(int(view.elapsed_s), 60)
    return Panel(
        table,
        box=ROUNDED,
        border_style="dim",
        title=Text.assemble((" moodstream ", "bold"), ("Kafka → model → Kafka → Redis ", "dim")),
        title_align="left",
        subtitle=Text(f" {view.state}  {minutes:02d}:{seconds:02d} ", style=_ACCENT),
        subtitle_align="right",
        padding=(0, 1),
    )


def _posts(rows: Sequence[Row], height: int) -> RenderableType:
    table = Table(box=SIMPLE_HEAD, expand=True, padding=(0, 1), header_style="dim", show_edge=False)
    table.add_column("label", no_wrap=True, width=9)
    table.add_column("confidence", no_wrap=True, width=_SCORE_CELLS + 5)
    table.add_column("post", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("ms", justify="right", no_wrap=True, width=5, style="dim")
    for row in rows:
        table.add_row(*_cells(row))
    return Panel(
        table, box=ROUNDED, border_style="dim", title="some of the posts", title_align="left", height=height
    )


def _cells(row: Row) -> Iterator[RenderableType]:
    text = row.text.translate(_INVISIBLE)
    if row.label is None:
        yield Text("✗ dead", style=_BAD)
        yield ""
        yield Text(f"{text} in {row.topic}", style=f"italic {_BAD}")
    else:
        colour = COLOURS[row.label]
        yield Text(row.label, style=f"bold {colour}")
        yield Text.assemble((bar(row.score, _SCORE_CELLS), colour), (f" {row.score:4.0%}", "dim"))
        yield Text(text)
    yield f"{row.latency_ms:.0f}"


def bar(share: float, cells: int) -> str:
    """A bar of `share` (0 to 1) of so many characters, drawn in eighths, padded to that length."""
    eighths = round(max(0.0, min(1.0, share)) * cells * 8)
    whole, part = divmod(eighths, 8)
    return ("█" * whole + (_BARS[part - 1] if part else "")).ljust(cells)


def _trend(mood: Mood | None, height: int) -> RenderableType:
    table = Table.grid(expand=True, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(ratio=1)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(justify="right", no_wrap=True, style="dim")
    counts = {} if mood is None else mood.counts
    n, most = sum(counts.values()), max(counts.values(), default=0)
    airy = height >= 2 * len(LABELS) + _TREND_LINES
    for name in LABELS:
        count, colour = counts.get(name, 0), COLOURS[name]
        table.add_row(
            Text(name, style=colour),
            Bar(max(most, 1), 0, count, color=colour, bgcolor="default"),
            f"{count:,}",
            f"{count / n:.0%}" if n else "-",
        )
        if airy:
            table.add_row("")
    title = "trend" if mood is None else f"trend, {mood.span}"
    note = "no answer yet" if mood is None else f"n = {n:,}"
    body = Group(*([""] if airy else []), table, Align.center(Text(note, style="dim")))
    return Panel(body, box=ROUNDED, border_style="dim", title=title, title_align="left", height=height)


def _foot(places: Places) -> RenderableType:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="dim")
    table.add_column(style=_ACCENT)
    table.add_column(style="dim")
    table.add_column(style=_ACCENT)
    table.add_row(" page", places.page, "metrics", places.worker_metrics)
    table.add_row(" trends", places.api, "", places.trends_metrics)
    own = Text.assemble(
        (" your posts  ", "dim"), (places.own_posts, _ACCENT), no_wrap=True, overflow="ellipsis"
    )
    return Group(table, own)
