"""`moodstream send` and `moodstream source`."""

from __future__ import annotations

import importlib.util
import os
import re
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import msgspec
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from worker.clock import SystemClock
from worker.errors import ConfigurationError
from worker.interrupts import interrupts
from worker.options import json_option, settings_options
from worker.settings import Settings
from worker.sources.edges import Around
from worker.sources.files import FileFeed, StreamFeed
from worker.sources.forward import Forward, Sent
from worker.sources.lines import FORMATS, Format
from worker.sources.outlet import Outlet
from worker.sources.timing import Timing
from worker.types import Post

if TYPE_CHECKING:
    from worker.sources.role import Wanted

_WAIT_S = 30.0


@click.command()
@click.argument("file", type=click.Path(path_type=Path, allow_dash=True))
@click.option("--topic", help="The topic that is written to; the first of topics.inputs where not given.")
@click.option(
    "--format",
    "kind",
    type=click.Choice(FORMATS),
    help="What FILE holds; told by its name where not given (.jsonl, .csv, .tsv, .txt, each also with .gz).",
)
@click.option(
    "--column",
    "columns",
    multiple=True,
    metavar="FIELD=NAME",
    help="What a table calls a field of a post: --column text=Tweet --column author_id=user.",
)
@click.option(
    "--rate", type=click.FloatRange(min=0.01), metavar="POSTS_PER_S", help="At most so many a second."
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0.001),
    metavar="TIMES",
    help="Keep the gaps between the times at which posts were written (created_at), so many times as fast.",
)
@click.option(
    "--name", help="Of the cursor, for a file that grows; its own name and a digest where not given."
)
@click.option("--again", is_flag=True, help="From the beginning, also where it was sent before.")
@json_option
@settings_options
def send(
    *,
    settings: Settings,
    file: Path,
    topic: str | None,
    kind: Format | None,
    columns: tuple[str, ...],
    rate: float | None,
    speed: float | None,
    name: str | None,
    again: bool,
    as_json: bool,
) -> None:
    """Write the posts of FILE (- is standard input) to an input topic.

    Each line or row once: what is killed and started again goes on where it was, and a file that was sent is
    not sent twice. Of standard input nothing is remembered.
    """
    _check_name(name)
    clock = SystemClock()
    topic = topic or settings.topics.inputs[0]
    with interrupts() as stop, _bar() as progress:
        feed = _feed(file, kind, _columns(columns), name, progress)
        outlet = Outlet(
            settings, topic, feed.name, wait_s=_WAIT_S, clock=clock, go_on=lambda: not stop.is_set()
        )
        try:
            stored = outlet.open()
            before = 0 if again or isinstance(feed, StreamFeed) else stored or 0
            began = clock.monotonic()
            sent = Forward(outlet, Timing(clock, rate=rate, speed=speed), clock, stop).run(feed, before)
        finally:
            outlet.close()
    _tell(sent, topic, before, clock.monotonic() - began, as_json=as_json)


def _feed(
    file: Path, kind: Format | None, columns: Mapping[str, str], name: str | None, progress: Any
) -> FileFeed | StreamFeed:
    if str(file) == "-":
        return StreamFeed(sys.stdin.buffer, name or "stdin", kind or "jsonl", columns)
    feed = FileFeed(file, kind, columns, progress=progress)
    feed.name = name or feed.name
    return feed


def _check_name(name: str | None) -> None:
    if name is not None and not re.fullmatch(r"[A-Za-z0-9._-]{1,150}", name):
        raise ConfigurationError([f"--name {name}: 1 to 150 letters, digits and . _ -"])


def _columns(given: tuple[str, ...]) -> dict[str, str]:
    fields = {field.name for field in msgspec.structs.fields(Post)}
    pairs = dict(one.partition("=")[::2] for one in given)
    problems = [
        f"--column {field}={name}: a field of a post is one of {', '.join(sorted(fields))}"
        for field, name in pairs.items()
        if field not in fields or not name
    ]
    if problems:
        raise ConfigurationError(problems)
    return pairs


def _tell(sent: Sent, topic: str, before: int, seconds: float, *, as_json: bool) -> None:
    if as_json:
        answer = {
            "topic": topic,
            "sent": sent.items,
            "unreadable": sent.unreadable,
            "before": before,
            "seconds": round(seconds, 3),
        }
        click.echo(msgspec.json.encode(answer))
        return
    click.echo(f"{sent.items:,} sent to {topic}" + (f", behind {before:,} lines of before" if before else ""))
    if before and not sent.items:
        click.echo("nothing new in it; --again sends it from the beginning")
    if sent.unreadable:
        click.secho(
            f"{sent.unreadable:,} of them are no posts: workers put them with the dead letters "
            "(`moodstream topics inspect`)",
            fg="yellow",
            err=True,
        )


@contextmanager
def _bar() -> Iterator[Any]:
    """A bar for people: bytes of the file that were read."""
    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:.0f}%"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task("sending", total=None)
        yield lambda done, of: progress.update(task, completed=done, total=of)


@click.group()
def source() -> None:
    """Posts from elsewhere into an input topic, until SIGTERM."""


@source.command()
@click.option("--topic", help="The topic that is written to; the first of topics.inputs where not given.")
@click.option(
    "--lang",
    "langs",
    multiple=True,
    metavar="CODE",
    help="Only posts in this language, such as en; again for more.",
)
@click.option("--server", help="A Jetstream server, as wss://HOST; one of Bluesky's own where not given.")
@click.option(
    "--name", default="bluesky", show_default=True, help="Of the cursor: another for another server."
)
@settings_options
def bluesky(
    settings: Settings, topic: str | None, langs: tuple[str, ...], server: str | None, name: str
) -> None:
    """Posts and deletions of Bluesky (Jetstream), each once: it goes on from its cursor after any break."""
    _check_name(name)
    if importlib.util.find_spec("websockets") is None:
        raise ConfigurationError(
            ["moodstream source bluesky needs websockets: pip install 'moodstream[sources]'"]
        )
    from worker.sources.bluesky import SERVER, BlueskyFeed
    from worker.sources.role import Wanted

    def feed(around: Around) -> BlueskyFeed:
        return BlueskyFeed(
            around.clock, around.stop, server=server or SERVER, langs=langs, name=name, told=around.told
        )

    _run(settings, Wanted(topic or settings.topics.inputs[0], "bluesky", feed, name))


@source.command()
@click.option("--topic", help="The topic that is written to; the first of topics.inputs where not given.")
@click.option(
    "--lang",
    "langs",
    multiple=True,
    metavar="CODE",
    help="Only statuses in this language, such as en; again for more.",
)
@click.option("--tag", help="Only statuses with this hashtag.")
@click.option("--local", is_flag=True, help="Only what is written on this server.")
@click.option(
    "--name", default="mastodon", show_default=True, help="Of the cursor: another for another server."
)
@settings_options
def mastodon(
    *,
    settings: Settings,
    topic: str | None,
    langs: tuple[str, ...],
    tag: str | None,
    local: bool,
    name: str,
) -> None:
    """Statuses and deletions of a Mastodon server (source.mastodon.server); fetches what it missed."""
    _check_name(name)
    mine = settings.source.mastodon
    tag = None if tag is None else tag.removeprefix("#")
    problems = []
    if mine.server is None:
        problems.append("source.mastodon.server (MOODSTREAM_SOURCE__MASTODON__SERVER): which server?")
    if tag is not None and not re.fullmatch(r"\w{1,100}", tag):
        problems.append(f"--tag {tag}: a hashtag has letters, digits and _")
    if problems or mine.server is None:
        raise ConfigurationError(problems)
    from worker.sources.api import Api
    from worker.sources.mastodon import Apis, Asked, MastodonFeed
    from worker.sources.role import Wanted
    from worker.sources.window import Window

    window = Window(settings.source.window)
    apis = Apis(Api(mine.server, mine.token), Api(mine.streaming_server or mine.server, mine.token))
    languages = frozenset(lang.lower() for lang in langs)
    asked = Asked(tag, local, languages, mine.edits == "on", mine.gap_minutes * 60.0)

    def feed(around: Around) -> MastodonFeed:
        return MastodonFeed(apis, asked, window, around, name=name)

    _run(settings, Wanted(topic or settings.topics.inputs[0], "mastodon", feed, name, window))


@source.command()
@click.option("--topic", help="The topic that is written to; the first of topics.inputs where not given.")
@click.option(
    "--name", default="x", show_default=True, help="Of this source: another for another app's stream."
)
@settings_options
def x(settings: Settings, topic: str | None, name: str) -> None:
    """Posts of X that match the rules of source.x.rules_file (API v2, filtered stream); at least once."""
    _check_name(name)
    mine = settings.source.x
    if mine.token is None:
        raise ConfigurationError(
            ["source.x.token (MOODSTREAM_SOURCE__X__TOKEN): X wants the bearer token of your app"]
        )
    from worker.sources.api import Api
    from worker.sources.role import Wanted
    from worker.sources.window import Window
    from worker.sources.x import XFeed
    from worker.sources.x_rules import read_rules

    rules = None if mine.rules_file is None else read_rules(mine.rules_file, name)
    window = Window(settings.source.window)
    api = Api(mine.server, mine.token)

    def feed(around: Around) -> XFeed:
        return XFeed(api, rules, window, around, backfill_minutes=mine.backfill_minutes, name=name)

    _run(settings, Wanted(topic or settings.topics.inputs[0], "x", feed, name, window))


def _run(settings: Settings, wanted: Wanted) -> None:
    """Run a source until it is told to stop."""
    from worker.process import run_role
    from worker.sources.role import run

    run_role(
        "source",
        lambda settings, metrics, clock, stop: run(settings, metrics, clock, stop, wanted=wanted),
        settings,
        drain_s=settings.source.drain_s,
    )


@source.command()
@click.option(
    "--hooks",
    "file",
    type=click.Path(path_type=Path),
    required=True,
    help="TOML: who may send, and where in what they send a post is; docs/sources.md shows one.",
)
@settings_options
def webhook(settings: Settings, file: Path) -> None:
    """Customer feedback that others send (Zendesk, Typeform, your own): POST /hooks/NAME, signed."""
    from worker.process import run_role
    from worker.sources.hooks import read_hooks
    from worker.sources.webhook import run

    hooks = read_hooks(file, os.environ, settings.topics.inputs)
    run_role(
        "source",
        lambda settings, metrics, clock, stop: run(settings, metrics, clock, stop, hooks=hooks),
        settings,
        drain_s=settings.source.drain_s,
    )
