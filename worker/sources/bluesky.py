"""Bluesky's Jetstream: its posts and deletions, from a websocket that goes on from a cursor.

Every event carries `time_us`, microseconds that rise from event to event of one server, and is what the
server goes on from when it is asked to. We ask for a moment some seconds before, and pass over what is not
behind the cursor. The servers do not stamp one event alike, so a cursor is good for the server that it came
from, and we stay with one.
https://github.com/bluesky-social/jetstream
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from urllib.parse import urlencode

import msgspec
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from worker.clock import Clock, backoff
from worker.errors import DependencyError
from worker.sources.edges import Item

SERVER = "wss://jetstream2.us-east.bsky.network"
POSTS = "app.bsky.feed.post"
_BEFORE_US = 5_000_000
"""What we ask for before the cursor."""
_OPEN_S = 10.0
_QUIET_S = 0.5
_SILENT_S = 60.0
"""A connection that brings nothing for so long, of a network that never sleeps, is dead."""
_MOST_BYTES = 1024 * 1024
_REFUSALS = range(400, 429)

log = logging.getLogger(__name__)


class _Record(msgspec.Struct):
    langs: list[str] = []


class _Commit(msgspec.Struct):
    operation: str
    collection: str
    rkey: str
    record: _Record | None = None


class _Event(msgspec.Struct):
    did: str
    time_us: int
    kind: str = ""
    commit: _Commit | None = None


_event = msgspec.json.Decoder(_Event).decode


class BlueskyFeed:
    """Posts of Bluesky, for ever. `langs`: only posts that name one of these languages; none: all."""

    def __init__(
        self,
        clock: Clock,
        stop: threading.Event,
        *,
        server: str = SERVER,
        langs: Sequence[str] = (),
        name: str = "bluesky",
        told: Callable[[bool, str], None] = lambda up, why: None,
    ) -> None:
        """`told`: whether it answers, and why not, at each change."""
        self.name = name
        self._clock = clock
        self._stop = stop
        self._server = server.rstrip("/")
        self._langs = frozenset(lang.lower() for lang in langs)
        self._told = told

    def items(self, cursor: int | None) -> Generator[Item | None]:
        waits = backoff(ceiling_s=30.0)
        while not self._stop.is_set():
            why = "closed"
            try:
                with connect(self._address(cursor), max_size=_MOST_BYTES, open_timeout=_OPEN_S) as socket:
                    self._told(True, "")
                    for item in self._events(socket, cursor):
                        if item is not None:
                            cursor = item.cursor if item.cursor is not None else cursor
                            waits = backoff(ceiling_s=30.0)
                        yield item
            except InvalidStatus as refused:
                status = refused.response.status_code
                if status in _REFUSALS:
                    raise DependencyError(
                        "bluesky", f"{self._server} answers {status}: check --server"
                    ) from refused
                why = f"{self._server} answers {status}"
            except (OSError, ConnectionClosed, InvalidHandshake, TimeoutError) as error:
                why = f"{type(error).__name__}: {error}"
            if self._stop.is_set():
                return
            self._told(False, why)
            yield None
            self._stop.wait(next(waits))

    def _address(self, cursor: int | None) -> str:
        asked = {"wantedCollections": POSTS}
        if cursor is not None:
            asked["cursor"] = str(max(0, cursor - _BEFORE_US))
        return f"{self._server}/subscribe?{urlencode(asked)}"

    def _events(self, socket: ClientConnection, cursor: int | None) -> Iterator[Item | None]:
        """What one connection brings behind `cursor`, until it says nothing any more."""
        heard_at = self._clock.monotonic()
        while not self._stop.is_set():
            try:
                frame = socket.recv(timeout=_QUIET_S, decode=False)
            except TimeoutError:
                if self._clock.monotonic() - heard_at > _SILENT_S:
                    raise TimeoutError(f"nothing came for {_SILENT_S:g} s") from None
                yield None
                continue
            heard_at = self._clock.monotonic()
            item = self._item(bytes(frame))
            if item.cursor is not None:
                if cursor is not None and item.cursor <= cursor:
                    continue
                cursor = item.cursor
            yield item

    def _item(self, frame: bytes) -> Item:
        """One event: a post or deletion as it came; what is neither only moves the cursor."""
        event = None
        with suppress(msgspec.MsgspecError, UnicodeDecodeError):
            event = _event(frame)
        if event is None:  # a worker says what is wrong with it, and keeps it
            return Item(frame, readable=False)
        commit = event.commit
        at = event.time_us / 1e6
        wanted = (
            commit is not None and commit.collection == POSTS and commit.operation in ("create", "delete")
        )
        if commit is None or not wanted or not self._in_our_languages(commit):
            return Item(None, None, event.time_us, at)
        key = f"at://{event.did}/{commit.collection}/{commit.rkey}"
        return Item(frame, key.encode(errors="replace"), event.time_us, at)

    def _in_our_languages(self, commit: _Commit) -> bool:
        """Deletions always are: they do not say, and a deletion of nothing does no harm."""
        if not self._langs or commit.operation == "delete":
            return True
        told = [lang.lower() for lang in (commit.record.langs if commit.record else [])]
        return any(lang in self._langs or lang.split("-")[0] in self._langs for lang in told)
