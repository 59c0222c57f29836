"""A server that speaks X API v2's filtered stream and its rules, with planned breaks.

Before the stream behind a break, `unseen` lines pass that come only where `backfill_minutes` is asked for:
then with all lines before, which come twice.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from tests.support.streaming import Breaks, Exchange, StreamingServer

_STREAM = "/2/tweets/search/stream"
DISCONNECT = {
    "errors": [
        {
            "title": "operational-disconnect",
            "disconnect_type": "UpstreamOperationalDisconnect",
            "detail": "This stream has been disconnected upstream for operational reasons.",
            "type": "https://api.x.com/2/problems/operational-disconnect",
        }
    ]
}


def post(number: int, text: str, **more: Any) -> bytes:
    """A line of the stream."""
    data = {
        "id": str(1_900_000_000_000_000_000 + number),
        "text": text,
        "created_at": "2026-05-04T18:00:00.000Z",
        "author_id": str(number % 7),
        "lang": "en",
        "edit_history_tweet_ids": [str(1_900_000_000_000_000_000 + number)],
    }
    return json.dumps({"data": data, "matching_rules": [{"id": "1", "tag": "t"}]} | more).encode()


class XStream(StreamingServer):
    """Plays `lines` in their order."""

    def __init__(
        self,
        lines: Sequence[bytes],
        *,
        breaks: Breaks = Breaks(),  # noqa: B008 - it does not change
        token: str = "hush",
        rules: Sequence[Mapping[str, str]] = ({"id": "7", "value": "cats", "tag": "of somebody else"},),
        refusals: Sequence[tuple[int, Mapping[str, str]]] = (),
        dead: int = 0,
    ) -> None:
        """Plan it.

        Args:
            lines: All that pass.
            breaks: When streams break.
            token: Wanted of each request.
            rules: Those that are there.
            refusals: What streams are answered at first: status and headers.
            dead: How many streams then stay silent.
        """
        super().__init__()
        self._lines = lines
        self._every, self._unseen, self._left, self._hold = breaks
        self.release = threading.Event()
        """Ends the stream that is held open."""
        self._token = token
        self._refusals = list(refusals)
        self._dead = dead
        self._next = 0
        self._current = 0
        self.rules = [dict(rule) for rule in rules]
        self.changes: list[Any] = []
        """What was asked of the rules."""
        self.queries: list[dict[str, str]] = []
        """Of each of them."""
        self.seen: set[bytes] = set()
        """Lines that were brought whole."""

    @property
    def is_over(self) -> bool:
        """Whether all has happened."""
        with self.lock:
            return self._next == len(self._lines)

    def serve(self, exchange: Exchange) -> None:
        if exchange.headers["Authorization"] != f"Bearer {self._token}":
            exchange.answer(401, {"title": "Unauthorized", "status": 401})
        elif exchange.route == f"{_STREAM}/rules":
            if exchange.command == "POST":
                self._change(exchange)
            else:
                self._list(exchange)
        elif exchange.route != _STREAM:
            exchange.answer(404, {"title": "Not Found"})
        elif self._refusals:
            exchange.answer(self._refusals[0][0], {"title": "no"}, self._refusals.pop(0)[1])
        else:
            self._play(exchange)

    def _list(self, exchange: Exchange) -> None:
        """Two rules a page."""
        at = int(exchange.query.get("pagination_token", "0"))
        said: dict[str, Any] = {"meta": {"sent": "2026-05-04T18:00:00Z", "result_count": len(self.rules)}}
        if found := self.rules[at : at + 2]:
            said["data"] = found
        if at + 2 < len(self.rules):
            said["meta"]["next_token"] = str(at + 2)
        exchange.answer(200, said)

    def _change(self, exchange: Exchange) -> None:
        change = exchange.body()
        self.changes.append(change)
        if "delete" in change:
            gone = change["delete"]["ids"]
            self.rules = [rule for rule in self.rules if rule["id"] not in gone]
            exchange.answer(200, {"meta": {"summary": {"deleted": len(gone), "not_deleted": 0}}})
            return
        errors = []
        for rule in change["add"]:
            if rule["value"].count("(") != rule["value"].count(")"):
                errors.append(
                    {"value": rule["value"], "title": "UnprocessableEntity", "details": ["missing ')'"]}
                )
            elif rule["value"] in {other["value"] for other in self.rules}:
                errors.append({"value": rule["value"], "title": "DuplicateRule", "id": "1"})
            else:
                self.rules.append(rule | {"id": str(100 + len(self.changes) * 100 + len(self.rules))})
        exchange.answer(201, {"meta": {"summary": {}}} | ({"errors": errors} if errors else {}))

    def _play(self, exchange: Exchange) -> None:
        with self.lock:
            self.connections += 1
            mine = self._current = self.connections
            if mine > 1 and self._left >= 0:
                self._next = min(self._next + self._unseen, len(self._lines))
            again = self._lines[: self._next]  # nothing yet for the first
        self.queries.append(exchange.query)
        exchange.begin("application/json")
        if mine <= self._dead:
            self.closing.wait()
            return
        for missed in again if "backfill_minutes" in exchange.query else ():
            self._bring(exchange, missed)
        brought = 0
        while not self.closing.is_set():
            line = self._pass(mine)
            if line is None:
                exchange.chunk(b"\r\n")
                self.closing.wait(0.05)
                continue
            self._bring(exchange, line)
            brought += 1
            if mine == self._hold and brought >= self._every:
                while not self.release.wait(0.02) and not self.closing.is_set():
                    exchange.chunk(b"\r\n")
            if self._every and brought >= self._every and self._breaks(exchange):
                return

    def _pass(self, mine: int) -> bytes | None:
        with self.lock:
            if self._current != mine:
                raise ConnectionAbortedError  # who has opened another one does not read this one any more
            if self._next == len(self._lines):
                return None
            self._next += 1
            return self._lines[self._next - 1]

    def _bring(self, exchange: Exchange, line: bytes) -> None:
        middle = len(line) // 2
        exchange.chunk(line[:middle])
        exchange.chunk(line[middle:] + b"\r\n\r\n")
        self.seen.add(line)

    def _breaks(self, exchange: Exchange) -> bool:
        """Breaks it, if it is time: told why, without a word, or within a line."""
        with self.lock:
            self._left -= 1
            if self._left < 0:
                return False
        if self._left % 3 == 0:
            exchange.chunk(json.dumps(DISCONNECT).encode() + b"\r\n")
            exchange.end()
        elif self._left % 3 == 1:
            exchange.cut()
        else:
            exchange.chunk(b'{"data": {"id": "19')
            exchange.cut()
        return True
