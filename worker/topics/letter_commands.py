"""`moodstream topics inspect` and `redrive`: the dead letters, looked at and put back."""

from __future__ import annotations

import functools
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import click
import msgspec
from rich.console import Console
from rich.progress import Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from worker.options import json_option, settings_options
from worker.settings import Settings
from worker.times import moment
from worker.topics.connect import WAIT_S
from worker.topics.letters import Letter, Wanted

_Command = TypeVar("_Command", bound=Callable[..., Any])
_MOST_SHOWN = 200
"""Characters of a key or a header."""
_MOST_TEXT = 4000

wait_option = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    default=WAIT_S,
    show_default=True,
    metavar="SECONDS",
    help="How long to wait for a broker that does not answer yet.",
)


class _When(click.ParamType):
    """A point in time, in epoch seconds."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            return moment(value, time.time())
        except ValueError as error:
            self.fail(f"{value!r} must {error}", param, ctx)


def _filters(command: _Command) -> _Command:
    """Give a command the options that choose letters, as its argument `wanted`."""

    @click.option(
        "--error",
        "kinds",
        multiple=True,
        metavar="KIND",
        help="Only letters of this kind (invalid_json, model_error, ...); give it again for several.",
    )
    @click.option("--source", "topics", multiple=True, metavar="TOPIC", help="Only letters from this topic.")
    @click.option(
        "--from",
        "since",
        type=_When(),
        metavar="TIME",
        help="Only what was found to be bad from then on: 2026-05-04T18:00:00Z, or -1h, -2d.",
    )
    @click.option("--to", "until", type=_When(), metavar="TIME", help="Only what was found to be bad before.")
    @functools.wraps(command)
    def with_filters(
        *,
        kinds: tuple[str, ...],
        topics: tuple[str, ...],
        since: float | None,
        until: float | None,
        settings: Settings,
        **kwargs: Any,
    ) -> Any:
        unknown = sorted(set(topics) - set(settings.topics.inputs))
        if unknown:
            raise click.BadParameter(
                f"{', '.join(unknown)}: not among topics.inputs ({', '.join(settings.topics.inputs)})",
                param_hint="--source",
            )
        wanted = Wanted(frozenset(kinds), frozenset(topics), since, until)
        return command(settings=settings, wanted=wanted, **kwargs)

    return with_filters  # type: ignore[return-value]


@click.command("inspect")
@click.option("--limit", default=10, show_default=True, type=click.IntRange(0, 10_000), help="Letters shown.")
@click.option("--all", "redriven_too", is_flag=True, help="Also those that were put back.")
@click.option("--show-text", is_flag=True, help="Also what is in them: values and the producers' headers.")
@json_option
@wait_option
@settings_options
@_filters
def inspect_letters(
    *,
    settings: Settings,
    wanted: Wanted,
    limit: int,
    redriven_too: bool,
    show_text: bool,
    as_json: bool,
    wait_s: float,
) -> None:
    """Count the dead letters that wait, and show the newest; their texts only with --show-text."""
    from worker.topics.inspect import inspect

    found = inspect(settings, wanted, show=limit, redriven_too=redriven_too, wait_s=wait_s)
    letters = [_shown(letter, done, show_text=show_text) for letter, done in found.newest]
    result = {
        "letters": found.n,
        "redriven": found.redriven,
        "foreign": found.foreign,
        "by_error": _sorted(found.by_kind),
        "by_topic": _sorted(found.by_topic),
        "by_hour": dict(sorted(found.by_hour.items())),
        "newest": letters,
    }
    if as_json:
        click.echo(msgspec.json.encode(result))
        return
    click.echo(
        f"{found.n} dead letters{' in all' if redriven_too else ' wait'}; {found.redriven} were put back"
    )
    for title, counts in (
        ("error", _sorted(found.by_kind)),
        ("topic", _sorted(found.by_topic)),
        ("hour", dict(sorted(found.by_hour.items()))),
    ):
        for name, n in counts.items():
            click.echo(f"  {title:<6} {printable(name.encode()):<24} {n:>9}")
    for letter in letters:
        click.echo(click.style(f"\n{letter.pop('letter')}", bold=True))
        for name, value in letter.items():
            click.echo(f"  {name:<12} {value}")


@click.command("redrive")
@click.option("--dry-run", is_flag=True, help="Only say what would be put back.")
@click.option("--limit", type=click.IntRange(min=1), metavar="N", help="Put back N letters at most.")
@click.option(
    "--max-redrives",
    default=3,
    show_default=True,
    type=click.IntRange(min=1),
    help="Leave letters that were put back so often and came here again.",
)
@json_option
@wait_option
@settings_options
@_filters
def redrive_letters(
    *,
    settings: Settings,
    wanted: Wanted,
    dry_run: bool,
    limit: int | None,
    max_redrives: int,
    as_json: bool,
    wait_s: float,
) -> None:
    """Put dead letters back into the topics that they came from, after what was wrong is mended.

    Each exactly once, whatever is killed; the same command goes on where it was. Letters that come while it
    runs are left for the next time. Only one redrive of a topic runs at a time: a second one takes over.
    """
    from worker.topics.redrive import Order, redrive

    with _bar(dry_run=dry_run) as progress:
        report = redrive(
            settings,
            Order(wanted, max_redrives, limit, dry_run),
            wait_s=wait_s,
            progress=progress,
        )
    by_topic: Counter[str] = Counter()
    by_kind: Counter[str] = Counter()
    for (topic, kind), n in report.redriven.items():
        by_topic[topic] += n
        by_kind[kind] += n
    if as_json:
        result = {
            "redriven": report.redriven.total(),
            "dry_run": dry_run,
            "by_error": _sorted(by_kind),
            "by_topic": _sorted(by_topic),
            "left": _sorted(report.left),
        }
        click.echo(msgspec.json.encode(result))
        return
    click.echo(f"{report.redriven.total()} dead letters {'would be' if dry_run else 'were'} put back")
    for (topic, kind), n in sorted(report.redriven.items()):
        click.echo(f"  {topic:<24} {printable(kind.encode()):<16} {n:>9}")
    for why, n in report.left.items():
        click.echo(f"{n} stay: {_REASONS[why].format(max_redrives=max_redrives)}")


_REASONS = {
    "other": "not asked for",
    "too_often": "put back {max_redrives} times and here again (--max-redrives)",
    "too_large": "not whole here, or too large to be put back: their originals lie where the letters say",
    "elsewhere": "from a topic that is neither an input nor topics.corrections, or is gone",
}


@contextmanager
def _bar(*, dry_run: bool) -> Iterator[Callable[[int, int], None]]:
    """A bar for people; nothing where nobody is watching."""
    console = Console(stderr=True)
    columns = (TextColumn("{task.description}"), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("looking" if dry_run else "putting back", total=None)
        yield lambda done, total: progress.update(task, completed=done, total=total)


def _shown(letter: Letter, done: bool, *, show_text: bool) -> dict[str, Any]:
    lies = letter.record
    shown: dict[str, Any] = {
        "letter": f"{lies.topic}/{lies.partition}/{lies.offset}",
        "input": letter.input,
        "error": printable(letter.kind.encode()),
        "message": printable(letter.message.encode()),
        "time": datetime.fromtimestamp(letter.found_at, UTC).isoformat(),
        "worker": printable(letter.worker.encode()),
        "model": printable(letter.model.encode()),
        "key": None if lies.key is None else printable(lies.key),
        "key_bytes": len(lies.key or b""),
        "value_bytes": None if lies.value is None else len(lies.value),
        "headers": [printable(name.encode()) for name, _ in letter.headers],
        "cut": list(letter.cut),
        "redrives": letter.redriven,
        "redriven": done,
    }
    if show_text:
        shown["headers"] = {
            printable(name.encode()): None
            if value is None
            else printable(value if isinstance(value, bytes) else value.encode())
            for name, value in letter.headers
        }
        shown["value"] = None if lies.value is None else printable(lies.value, _MOST_TEXT)
    return shown


def printable(data: bytes, most: int = _MOST_SHOWN) -> str:
    """Bytes of somebody else's as one line that does nothing to a terminal, `most` characters of it."""
    text = data[: 4 * most].decode("utf-8", "backslashreplace")
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text[: most + 1])
    return safe if len(safe) <= most else f"{safe[:most]}..."


def _sorted(counts: Counter[Any]) -> dict[str, int]:
    """The most frequent first."""
    return dict(counts.most_common())
