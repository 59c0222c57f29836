"""A server that speaks Mastodon's streaming and timelines, with planned breaks.

Before the stream behind a break, `unseen` events happen that no stream brings: what is new is in the
timeline then, and of what is deleted nobody hears.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Literal, NamedTuple

from tests.support.streaming import Breaks, Exchange, StreamingServer


class Happening(NamedTuple):
    """Something that happens on the server."""

    name: Literal["update", "status.update", "delete", "notification"]
    data: bytes
    id: str = ""
    """Of the status; none where the data are broken: then it is in no timeline."""
    twice: bool = False
    """The stream brings it again at once."""


def status(number: int, text: str, **more: Any) -> Happening:
    """A new one. `number`: its id."""
    return Happening("update", _status(number, text, **more), str(number))


def edited(number: int, text: str, at: str) -> Happening:
    """What it says from now on."""
    return Happening("status.update", _status(number, text, edited_at=at), str(number))


def deleted(number: int) -> Happening:
    return Happening("delete", str(number).encode(), str(number))


def _status(number: int, text: str, **more: Any) -> bytes:
    at = datetime.fromtimestamp((number >> 16) / 1000, UTC).isoformat(timespec="milliseconds")
    said: dict[str, Any] = {
        "id": str(number),
        "created_at": at.replace("+00:00", "Z"),
        "language": "en",
        "uri": f"https://mastodon.example/users/ada/statuses/{number}",
        "visibility": "public",
        "content": f"<p>{text}</p>",
        "reblog": None,
        "edited_at": None,
        "account": {"id": str(number % 7), "acct": "ada", "note": "<p>me</p>"},
        "media_attachments": [],
        "tags": [],
    }
    return json.dumps(said | more).encode()


class Mastodon(StreamingServer):
    """Plays `happenings` in their order."""

    def __init__(
        self,
        happenings: Sequence[Happening],
        *,
        breaks: Breaks = Breaks(),  # noqa: B008 - it does not change
        before: int = 0,
        token: str | None = None,
        refusals: Sequence[tuple[int, Mapping[str, str]]] = (),
    ) -> None:
        """Plan it.

        Args:
            happenings: All that happens.
            breaks: When streams break.
            before: How many have happened already.
            token: Wanted of each request; None: none is.
            refusals: What streams are answered at first: status and headers.
        """
        super().__init__()
        self._happenings = happenings
        self._every, self._unseen, self._left, self._hold = breaks
        self.release = threading.Event()
        """Ends the stream that is held open."""
        self._token = token
        self._refusals = list(refusals)
        self._next = 0
        self._current = 0
        self._timeline: dict[int, bytes] = {}
        self.asked: list[str] = []
        """Paths with their queries, in the order of requests."""
        for _ in range(before):
            self._happen()

    @property
    def is_over(self) -> bool:
        """Whether all has happened."""
        with self.lock:
            return self._next == len(self._happenings)

    def serve(self, exchange: Exchange) -> None:
        self.asked.append(exchange.path)
        if self._token and exchange.headers["Authorization"] != f"Bearer {self._token}":
            exchange.answer(401, {"error": "Missing access token"})
        elif exchange.route.startswith("/api/v1/timelines/"):
            self._page(exchange)
        elif self._refusals:
            exchange.answer(self._refusals[0][0], {"error": "no"}, self._refusals.pop(0)[1])
        elif exchange.route.startswith("/api/v1/streaming/"):
            self._play(exchange)
        else:
            exchange.answer(404, {"error": "Not found"})

    def _happen(self) -> Happening | None:
        """The next thing, in the timeline at once."""
        if self._next == len(self._happenings):
            return None
        happening = self._happenings[self._next]
        self._next += 1
        if happening.id and happening.name == "delete":
            self._timeline.pop(int(happening.id), None)
        elif happening.id and (happening.name == "update" or int(happening.id) in self._timeline):
            self._timeline[int(happening.id)] = happening.data
        return happening

    def _page(self, exchange: Exchange) -> None:
        limit, least = int(exchange.query["limit"]), exchange.query.get("min_id")
        with self.lock:
            numbers = sorted(number for number in self._timeline if number > int(least or 0))
            chosen = numbers[:limit] if least else numbers[-limit:]
            values = [self._timeline[number] for number in reversed(chosen)]
        headers = {}
        if chosen:
            url = f"{self.url}{exchange.route}?limit={limit}"
            headers["Link"] = (
                f'<{url}&max_id={chosen[0]}>; rel="next", <{url}&min_id={chosen[-1]}>; rel="prev"'
            )
        exchange.answer(200, b"[" + b",".join(values) + b"]", headers)

    def _play(self, exchange: Exchange) -> None:
        with self.lock:
            self.connections += 1
            mine = self._current = self.connections
            for _ in range(self._unseen if mine > 1 and self._left >= 0 else 0):
                self._happen()
        exchange.begin("text/event-stream")
        exchange.chunk(b":)\n")
        brought = 0
        while not self.closing.is_set():
            with self.lock:
                if self._current != mine:
                    return  # who has opened another one does not read this one any more
                happening = self._happen()
            if happening is None:
                exchange.chunk(b":thump\n")
                self.closing.wait(0.05)
                continue
            self._bring(exchange, happening)
            brought += 1
            if mine == self._hold and brought >= self._every:
                while not self.release.wait(0.02) and not self.closing.is_set():
                    exchange.chunk(b":thump\n")
            if self._every and brought >= self._every and self._breaks(exchange):
                return

    def _bring(self, exchange: Exchange, happening: Happening) -> None:
        framed = b"event: %s\ndata: %s\n\n" % (happening.name.encode(), happening.data)
        middle = len(framed) // 2
        for _ in range(2 if happening.twice else 1):
            exchange.chunk(framed[:middle])
            exchange.chunk(framed[middle:])
        exchange.chunk(b":thump\n")

    def _breaks(self, exchange: Exchange) -> bool:
        """Breaks it, if it is time: in good order, without a word, or within an event."""
        with self.lock:
            self._left -= 1
            if self._left < 0:
                return False
        if self._left % 3 == 0:
            exchange.end()
        elif self._left % 3 == 1:
            exchange.cut()
        else:
            exchange.chunk(b'event: update\ndata: {"id": "1')
            exchange.cut()
        return True
