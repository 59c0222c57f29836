"""Shows the demo on standard error: a live picture on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from rich.console import Console
from rich.live import Live

from worker.demo.screen import Feed, Places, View, line, own_posts, picture, room
from worker.demo.servers import Running
from worker.demo.svg import as_svg
from worker.demo.tally import Tally
from worker.demo.trends import Mood, current
from worker.demo.verdict import Verdict
from worker.errors import DependencyError

_MOOD_EVERY_S = 1.0
_LINE_EVERY_S = 5.0
_SAVED_COLUMNS = 124
_SAVED_POSTS = 15


class Display:
    """What the user sees, apart from the result."""

    def __init__(self) -> None:
        self._console = _console(sys.stderr)
        self._feed = Feed()
        self._mood: Mood | None = None
        self._mood_at = self._line_at = self._start = 0.0
        self._view: View | None = None

    def say(self, text: str) -> None:
        """A step on the way."""
        self._console.print(f"[dim]{text} ...[/dim]")

    def complain(self, problem: str) -> None:
        """Something is not as it should be."""
        self._console.print(f"[bold red]✗[/] {problem}")

    @contextmanager
    def live(self, tally: Tally, running: Running) -> Iterator[Callable[[str], None]]:
        """Yields the function that shows what is so now, with a word for the state that the demo is in."""
        self._start = time.monotonic()
        places = Places(
            running.page,
            f"{running.trends_url}/api/trends",
            f"{running.trends_url}/metrics",
            f"{running.worker_url}/metrics",
            own_posts(running.bootstrap),
        )
        if not self._console.is_terminal or self._console.is_dumb_terminal:
            self._console.print(f"page {places.page}", soft_wrap=True)
            self._console.print(f"trends {places.api}, metrics {places.worker_metrics}")
            self._console.print(f"your posts {places.own_posts}", soft_wrap=True)
            yield lambda state: self._write(self._look(tally, running, places, state))
            return
        with Live(console=self._console, auto_refresh=False, vertical_overflow="crop") as live:
            yield lambda state: live.update(
                picture(self._look(tally, running, places, state), room(self._console.height)), refresh=True
            )

    def conclude(self, verdict: Verdict) -> None:
        """The summary, on standard output."""
        result, out = verdict.result, _console(sys.stdout)
        mark = "[green]✓[/]" if verdict.good else "[red]✗[/]"
        exact = "exact" if result.trends_exact else "[red]not exact[/]"
        out.print(
            f"{mark} {result.taken} records in: {result.labelled} labelled, {result.dead} dead letters "
            f"(and {verdict.deletions} deletions passed on)"
            f"{f', and {verdict.others} records of others' if verdict.others else ''}\n"
            f"{mark} {result.tweets_per_s:g} tweets/s, from sent to labelled in {result.p50_ms:g} ms (p50), "
            f"{result.p99_ms:g} ms (p99)\n"
            f"{mark} trends per minute, emotion and source: {exact}"
        )

    def save(self, file: Path) -> None:
        """The picture of this moment as SVG."""
        if self._view is None:
            return
        view = self._view._replace(feed=self._feed.shown(_SAVED_POSTS))
        svg = as_svg(picture(view, _SAVED_POSTS), "moodstream demo", _SAVED_COLUMNS)
        file.write_text(svg, encoding="utf-8")

    def _look(self, tally: Tally, running: Running, places: Places, state: str) -> View:
        now = time.monotonic()
        if now - self._mood_at >= _MOOD_EVERY_S:
            self._mood, self._mood_at = _mood(running.trends_url), now
        totals = tally.totals()
        feed = self._feed.advance(totals, room(self._console.height))
        self._view = View(totals, feed, self._mood, now - self._start, state, places)
        return self._view

    def _write(self, view: View) -> None:
        if view.elapsed_s - self._line_at >= _LINE_EVERY_S:
            self._line_at = view.elapsed_s
            self._console.print(line(view), soft_wrap=True)


def _console(stream: TextIO) -> Console:
    # Rich also takes FORCE_COLOR for a terminal, which build services set: a log is not to be drawn on.
    return Console(file=stream, force_terminal=stream.isatty(), highlight=False)


def _mood(url: str) -> Mood | None:
    try:
        return current(url)
    except DependencyError:
        return None
