"""Somebody's HTTP API with a bearer token: questions, and answers that never end, line by line."""

from __future__ import annotations

import queue
import threading
from collections.abc import Mapping
from contextlib import suppress
from http.client import HTTPException
from types import TracebackType
from typing import NamedTuple, Self
from urllib.parse import urlencode

import urllib3
from pydantic import SecretStr
from urllib3.exceptions import HTTPError

from worker.hidden import opened

_CONNECT_S = 10.0
_ANSWER_S = 30.0
_MOST_BYTES = 16 * 1024 * 1024
_MOST_LINE = 512 * 1024
"""Bytes; well below what Kafka takes as one record."""
_READ = 64 * 1024
_AHEAD = 10_000
"""Lines that wait for whoever reads them; then the server has to."""
_TURN_S = 0.5

_TROUBLE = (HTTPError, HTTPException, OSError)


class CutError(Exception):
    """The connection could not be made, broke, or fell silent. To be tried again."""


class RefusedError(Exception):
    """The server has answered, but not with what was asked for."""

    def __init__(self, status: int, headers: Mapping[str, str], body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body
        super().__init__(f"the server answers {status}")


class Answer(NamedTuple):
    """To a question."""

    headers: Mapping[str, str]
    body: bytes


class Api:
    """One server. Redirects are not followed: only the server that was set gets the token."""

    def __init__(self, server: str, token: SecretStr | None) -> None:
        self.server = server
        self._token = token
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=2, retries=False)

    def ask(
        self, method: str, path: str, query: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> Answer:
        """A question and its whole answer.

        Raises:
            CutError: none came.
            RefusedError: its status is not 2xx.
        """
        answer = self._request(method, path, query or {}, body, _ANSWER_S)
        try:
            said = answer.read(_MOST_BYTES)
        except _TROUBLE as error:
            raise CutError(_told(error)) from error
        finally:
            answer.close()
        if len(said) >= _MOST_BYTES:
            raise CutError(f"the answer to {path} is longer than {_MOST_BYTES} bytes")
        return Answer(answer.headers, said)

    def stream(self, path: str, query: Mapping[str, str], *, silent_s: float) -> Lines:
        """An answer that never ends. One that brings nothing for `silent_s` seconds is broken.

        Raises:
            CutError: none began.
            RefusedError: its status is not 2xx.
        """
        return Lines(self._request("GET", path, query, None, silent_s))

    def _request(
        self, method: str, path: str, query: Mapping[str, str], body: bytes | None, read_s: float
    ) -> urllib3.BaseHTTPResponse:
        headers = {"User-Agent": "moodstream", "Accept-Encoding": "identity"}
        if (token := opened(self._token)) is not None:
            headers["Authorization"] = f"Bearer {token}"
        if body is not None:
            headers["Content-Type"] = "application/json"
        address = f"{self.server}{path}" + (f"?{urlencode(query)}" if query else "")
        try:
            answer = self._pool.request(
                method,
                address,
                body=body,
                headers=headers,
                redirect=False,
                timeout=urllib3.Timeout(connect=_CONNECT_S, read=read_s),
                preload_content=False,
            )
        except _TROUBLE as error:
            raise CutError(_told(error)) from error
        if 200 <= answer.status < 300:
            return answer
        said = b""
        with suppress(*_TROUBLE):
            said = answer.read(_READ)
        answer.close()
        raise RefusedError(answer.status, answer.headers, said)


class Lines:
    """The lines of an answer, without their ends, read in a thread of their own.

    In a thread, because a socket whose read has timed out cannot be read any more, and whoever waits for
    posts has to write those that came and to look whether to stop.
    """

    def __init__(self, answer: urllib3.BaseHTTPResponse) -> None:
        self._answer = answer
        self._queue: queue.Queue[bytes | CutError] = queue.Queue(_AHEAD)
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read, name="lines", daemon=True)
        self._thread.start()

    @property
    def headers(self) -> Mapping[str, str]:
        """Of the answer."""
        return self._answer.headers

    def take(self, within_s: float) -> bytes | None:
        """The next line; None where none comes so soon. What a broken connection left of a line is dropped.

        Raises:
            CutError: it is over.
        """
        try:
            found = self._queue.get(timeout=within_s)
        except queue.Empty:
            return None
        if isinstance(found, CutError):
            raise found
        return found

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closed.set()
        with suppress(*_TROUBLE, ValueError, RuntimeError):
            self._answer.shutdown()  # wakes the thread
        self._thread.join(_CONNECT_S)
        with suppress(*_TROUBLE):
            self._answer.close()

    def _read(self) -> None:
        cut = CutError("the server has ended it")
        split = Splitter()
        try:
            while not self._closed.is_set() and (some := self._answer.read1(_READ)):
                for line in split(some):
                    self._put(line)
        except (*_TROUBLE, ValueError, AttributeError) as error:  # the last two: it was closed meanwhile
            cut = CutError(_told(error))
        self._put(cut)

    def _put(self, what: bytes | CutError) -> None:
        while not self._closed.is_set():
            with suppress(queue.Full):
                self._queue.put(what, timeout=_TURN_S)
                return


class Splitter:
    """Lines out of what comes in pieces. Of one that is longer than `most` bytes, the rest is passed over."""

    def __init__(self, most: int = _MOST_LINE) -> None:
        self._most = most
        self._rest = b""
        self._skipping = False

    def __call__(self, some: bytes) -> list[bytes]:
        """The lines that are whole now."""
        *ended, self._rest = (self._rest + some).split(b"\n")
        if self._skipping and ended:
            ended, self._skipping = ended[1:], False
        if self._skipping:
            self._rest = b""
        elif len(self._rest) > self._most:
            ended.append(self._rest)
            self._rest, self._skipping = b"", True
        return [line[: self._most].removesuffix(b"\r") for line in ended]


def _told(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
