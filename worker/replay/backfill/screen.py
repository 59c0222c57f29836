"""How far a backfill is, for people: two bars on a terminal, nothing where nobody is watching."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Screen:
    """The bars; a context manager."""

    def __init__(self) -> None:
        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._labelling = self._bars.add_task("labelling", total=None)
        self._counting = self._bars.add_task("counting", total=None)

    def __enter__(self) -> Screen:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def labelling(self, done: int, total: int) -> None:
        """So many records of the inputs were read, of so many."""
        self._show(self._labelling, done, total)

    def counting(self, done: int, total: int) -> None:
        """The same of labels that are counted."""
        self._show(self._counting, done, total)

    def _show(self, task: TaskID, done: int, total: int) -> None:
        self._bars.update(task, completed=done, total=total)
