"""A Mastodon server's public timeline: a stream of server-sent events, and its REST API for what was missed.

    open the stream ─► fetch what was written since the cursor, oldest first ─► go on with the stream

In this order, so that nothing falls between the two; what comes on both ways is recognised by its id. The
stream itself cannot go on from anywhere. The cursor is the largest id that was written, and as late ones come
with smaller ids, we ask for what was written from some minutes before it on.
https://docs.joinmastodon.org/methods/streaming/
"""

from __future__ import annotations

import logging
from collections.abc import Generator, Iterator, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from worker.clock import backoff
from worker.errors import DependencyError
from worker.sources import statuses
from worker.sources.api import Api, CutError, Lines, RefusedError
from worker.sources.edges import Around, Item
from worker.sources.sse import Event, Events
from worker.sources.timing import pause
from worker.sources.window import Window

_SILENT_S = 60.0
"""A heartbeat comes every 15 s."""
_QUIET_S = 0.5
_LIVED_S = 60.0
"""A connection that has lasted for so long was no failure, even if it brought nothing."""
_LATE_S = 300.0
"""How late a status may come from another server."""
_PAGE = 40
"""The most that a server gives at once."""
_LONGEST_WAIT_S = 900.0
_REDIRECTS = range(300, 400)
_PASSING = frozenset({408, 421, 425, 429})
"""What is no refusal among 4xx."""

log = logging.getLogger(__name__)
_statuses = msgspec.json.Decoder(list[msgspec.Raw]).decode


class Apis(NamedTuple):
    """Of one server."""

    rest: Api
    streaming: Api
    """Some have another address for it."""


class Asked(NamedTuple):
    """Which timeline."""

    tag: str | None = None
    """Only with this hashtag, without its #."""
    local: bool = False
    """Only what was written on this server."""
    langs: frozenset[str] = frozenset()
    """Only statuses in one of these languages; none: all."""
    edits: bool = True
    gap_s: float = 3600.0
    """Of what was missed, at most so much is fetched."""

    @property
    def stream(self) -> tuple[str, Mapping[str, str]]:
        """Path and query of the stream."""
        kind = "hashtag" if self.tag else "public"
        path = f"/api/v1/streaming/{kind}" + ("/local" if self.local else "")
        return path, {"tag": self.tag} if self.tag else {}

    @property
    def timeline(self) -> tuple[str, Mapping[str, str]]:
        """Path and query of what was written before."""
        path = f"/api/v1/timelines/tag/{quote(self.tag, safe='')}" if self.tag else "/api/v1/timelines/public"
        return path, {"local": "true"} if self.local else {}


class MastodonFeed:
    """Statuses and deletions of one server, for ever."""

    def __init__(
        self,
        apis: Apis,
        asked: Asked,
        window: Window,
        around: Around,
        *,
        name: str = "mastodon",
    ) -> None:
        """`window`: the keys of what was written lately."""
        self.name = name
        self._api, self._streaming = apis
        self._asked = asked
        self._window = window
        self._clock = around.clock
        self._stop = around.stop
        self._told = around.told
        self._counted = around.counted
        self._cursor: int | None = None
        self._server = urlsplit(apis.rest.server).netloc

    def items(self, cursor: int | None) -> Generator[Item | None]:
        self._cursor = cursor
        waits = backoff(ceiling_s=30.0)
        while not self._stop.is_set():
            opened_at, wait_s = self._clock.monotonic(), 0.0
            path, query = self._asked.stream
            try:
                with self._streaming.stream(path, query, silent_s=_SILENT_S) as lines:
                    yield from self._gap()
                    for item in self._events(lines):
                        if item is not None or self._clock.monotonic() - opened_at > _LIVED_S:
                            waits = backoff(ceiling_s=30.0)
                        yield item
                return
            except CutError as cut:
                why = str(cut)
            except RefusedError as refused:
                self._raise_if_final(refused)
                why, wait_s = str(refused), _asked_wait_s(refused.headers, self._clock.time())
            self._told(False, why)
            yield from pause(self._clock, self._stop, max(wait_s, next(waits)))

    def _events(self, lines: Lines) -> Iterator[Item | None]:
        """What the stream brings until it breaks or we are to stop."""
        events = Events()
        while not self._stop.is_set():
            line = lines.take(_QUIET_S)
            event = None if line is None else events(line)
            if event is None:
                yield None  # also behind a heartbeat: what came before it must not wait for the next post
            else:
                yield from self._event(event)

    def _event(self, event: Event) -> Iterator[Item]:
        if event.name == "update":
            yield self._status(event.data)
        elif event.name == "status.update" and self._asked.edits:
            yield from self._edit(event.data)
        elif event.name == "delete":
            gone = statuses.deleted(event.data)
            if gone is None:
                yield Item(event.data, readable=False)
            else:
                yield Item(None, self._key(gone), self._cursor, deletes=True)

    def _status(self, value: bytes) -> Item:
        """A new status as it came; of what is not wanted, or was written before, only the cursor."""
        status_id = statuses.id_of(value)
        if status_id is None:  # a worker says what is wrong with it, and keeps it
            return Item(value, readable=False)
        self._advance(status_id)
        key, status = self._key(status_id), statuses.read(value)
        at = None if status is None else status.at
        if status is not None and not self._wanted(status):
            return Item(None, None, self._cursor, at)
        if not self._window.add(key):
            self._counted("duplicate")
            return Item(None, None, self._cursor, at)
        if status is not None and status.edited_at:  # fetched behind an edit that the stream will bring, too
            self._window.add(_edition(key, status.edited_at))
        return Item(value, key, self._cursor, at, readable=status is not None)

    def _edit(self, value: bytes) -> Iterator[Item]:
        """What was said before is taken back, and what is said now is new."""
        status = statuses.read(value)
        if status is None:
            yield Item(value, readable=False)
            return
        key = self._key(status.id)
        if not self._window.add(_edition(key, status.edited_at)):
            self._counted("duplicate")
            return
        self._window.add(key)
        yield Item(None, key, self._cursor, deletes=True)
        if self._wanted(status):
            yield Item(value, key, self._cursor)

    def _wanted(self, status: statuses.Status) -> bool:
        """A post of its own, with words (not only pictures), in one of our languages."""
        has_words = bool(status.text) and not status.text.isspace()
        in_ours = statuses.in_languages(status.lang, self._asked.langs)
        return has_words and in_ours and not status.is_reblog

    def _advance(self, status_id: str) -> None:
        number = statuses.cursor_of(status_id)
        if number is not None:
            self._cursor = max(number, self._cursor or 0)

    def _key(self, status_id: str) -> bytes:
        """With the server, because two of them may give the same id."""
        return f"{self._server}/{status_id}".encode()

    def _gap(self) -> Iterator[Item]:
        """What was written between the cursor and now, oldest first; nothing where there is no cursor yet."""
        if self._cursor is None or not self._asked.gap_s:
            self._told(True, "")
            return
        newest = self._page({"limit": "1"})[0]
        self._told(True, "")
        until = max((at for value in newest if (at := _place(value)) is not None), default=0)
        at = self._gap_from(self._cursor)
        while at < until and not self._stop.is_set():
            values, following = self._page({"limit": str(_PAGE), "min_id": str(at)})
            if not values:
                return
            for value in reversed(values):
                yield self._status(value)
            places = [place for value in values if (place := _place(value)) is not None]
            before, at = at, following or max(places, default=at)
            if at <= before:
                raise CutError("its timeline does not go on")

    def _gap_from(self, cursor: int) -> int:
        written_at = statuses.time_of(cursor)
        if written_at is None:
            return cursor
        earliest = self._clock.time() - self._asked.gap_s
        if written_at < earliest:
            since, to = (
                datetime.fromtimestamp(at, UTC).isoformat("T", "seconds") for at in (written_at, earliest)
            )
            log.warning("%s: what was written from %s to %s is not fetched", self.name, since, to)
        return max(statuses.cursor_at(earliest), statuses.cursor_at(written_at - _LATE_S))

    def _page(self, more: Mapping[str, str]) -> tuple[list[bytes], int | None]:
        """Statuses, newest first, and behind which id the next newer page begins, where it says so.

        Raises:
            CutError: no answer, or none that can be read.
            RefusedError: its status is not 2xx.
        """
        path, query = self._asked.timeline
        answer = self._api.ask("GET", path, {**query, **more})
        try:
            values = [bytes(value) for value in _statuses(answer.body)]
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            raise CutError("its timeline is no list of statuses") from None
        following = statuses.newer_than(answer.headers.get("Link") or "")
        return values, None if following is None else statuses.cursor_of(following)

    def _raise_if_final(self, refused: RefusedError) -> None:
        """Raises where waiting mends nothing."""
        status = refused.status
        if status in _REDIRECTS:
            where = urlsplit(refused.headers.get("Location") or "").netloc
            advice = f"redirects to {where or 'elsewhere'}: check source.mastodon.server and streaming_server"
        elif status in (401, 403):
            advice = f"answers {status}: check source.mastodon.token"
        elif 400 <= status < 500 and status not in _PASSING:
            advice = f"answers {status}: check source.mastodon.server and what is asked for"
        else:
            return
        raise DependencyError("mastodon", f"{self._server} {advice}") from refused


def _edition(key: bytes, edited_at: str | None) -> bytes:
    return key + b"@" + (edited_at or "").encode(errors="replace")


def _place(value: bytes) -> int | None:
    """The number that the id of a status is."""
    status_id = statuses.id_of(value)
    return None if status_id is None else statuses.cursor_of(status_id)


def _asked_wait_s(headers: Mapping[str, str], now: float) -> float:
    """How long the server asks us to wait: `X-RateLimit-Reset` is a time, `Retry-After` seconds."""
    after, reset = headers.get("Retry-After") or "", headers.get("X-RateLimit-Reset") or ""
    if after.isascii() and after.isdecimal():
        return min(float(after), _LONGEST_WAIT_S)
    try:
        until = datetime.fromisoformat(reset)
    except ValueError:
        return 0.0
    seconds = until.replace(tzinfo=until.tzinfo or UTC).timestamp() - now
    return min(max(seconds, 0.0), _LONGEST_WAIT_S)
