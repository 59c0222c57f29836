"""How an answer leaves: encoded once, remembered for a moment, tagged so that a client knows it again."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, NamedTuple

import msgspec
from fastapi import Request, Response

from worker.clock import Clock
from worker.trends.queries import UnknownQueryError
from worker.web.problems import NotFoundError

KEPT_S = 0.5
"""How long an answer is given again without asking Redis. Many who look at the same page ask the same at the
same time, and none of them sees half a second."""
MOST_BYTES = 16 * 1024 * 1024
"""Of all remembered answers together."""
SETTLED_S = 3600
"""A span that ended longer ago changes by late posts only: clients may keep its answer for a while."""
_SETTLED_FOR_S = 60

_encode = msgspec.json.Encoder().encode


class _Answer(NamedTuple):
    body: bytes
    tag: str
    until: float


class Answers:
    """Gives answers, from memory where it can. Thread-safe; bounded by `most_bytes`."""

    def __init__(self, clock: Clock, *, kept_s: float = KEPT_S, most_bytes: int = MOST_BYTES) -> None:
        self._clock = clock
        self._kept_s = kept_s
        self._most_bytes = most_bytes
        self._lock = threading.Lock()
        self._answers: OrderedDict[Hashable, _Answer] = OrderedDict()
        self._bytes = 0

    def give(
        self, request: Request, key: Hashable, find: Callable[[], Any], *, end: float | None = None
    ) -> Response:
        """The answer that `find` finds: data for JSON, or a string of CSV.

        `key` tells questions apart; `end` is where the span asked for ends, in epoch seconds.

        Raises:
            NotFoundError: no query of the name asked for is tracked.
        """
        answer = self._remembered(key) or self._found(key, find)
        settled = end is not None and end < self._clock.time() - SETTLED_S
        headers = {
            "ETag": answer.tag,
            "Cache-Control": f"private, max-age={_SETTLED_FOR_S}" if settled else "private, no-cache",
            "Vary": "Accept",
        }
        if answer.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        media = "application/json" if answer.body.startswith(b"{") else "text/csv; charset=utf-8"
        return Response(answer.body, headers=headers, media_type=media)

    def _remembered(self, key: Hashable) -> _Answer | None:
        with self._lock:
            answer = self._answers.get(key)
        return answer if answer is not None and answer.until > self._clock.monotonic() else None

    def _found(self, key: Hashable, find: Callable[[], Any]) -> _Answer:
        try:
            data = find()
        except UnknownQueryError as error:
            raise NotFoundError(str(error)) from None
        body = data.encode() if isinstance(data, str) else _encode({"status": "success", "data": data})
        tag = f'"{hashlib.sha256(body).hexdigest()[:20]}"'
        answer = _Answer(body, tag, self._clock.monotonic() + self._kept_s)
        with self._lock:
            old = self._answers.pop(key, None)
            self._answers[key] = answer
            self._bytes += len(body) - (0 if old is None else len(old.body))
            while self._bytes > self._most_bytes:
                _, gone = self._answers.popitem(last=False)
                self._bytes -= len(gone.body)
        return answer
