"""What a request may ask of us before any route sees it: under which name, how often, how large.

    421   Host is a name that is not ours. A web page that has its own name point to 127.0.0.1 (DNS rebinding)
          would otherwise read, through a visitor's browser, what only this machine may read
    431   the headers are too large
    429   this address asks too often
    413   the body is too large

Liveness and readiness are exempt from the second: who checks them must get through.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException

from worker.clock import Clock
from worker.settings import HttpSettings
from worker.web.problems import problem

MOST_HEADER_BYTES = 16 * 1024
MOST_BODY_BYTES = 64 * 1024
"""Corrections and queries are far smaller; of texts to label it holds some hundred posts."""
_BURST_S = 4.0
"""How many seconds' worth of requests may come at once: a page and its data are some thirty."""
_MOST_CLIENTS = 1024
_HEALTH = frozenset({"/livez", "/readyz"})

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Application = Callable[[Message, Receive, Send], Awaitable[None]]


class Limits:
    """ASGI middleware that answers 421, 429 or 413 in the application's place."""

    def __init__(self, app: Application, http: HttpSettings, clock: Clock) -> None:
        self._app = app
        self._names = frozenset(http.allowed_hosts)
        self._any_name = not self._names and not is_loopback(http.host)
        self._rate = Rate(http.requests_per_s, clock) if http.requests_per_s > 0 else None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        name = host_name(headers.get("host", ""))
        if not (self._any_name or name in self._names or is_loopback(name) or is_address(name)):
            refused = problem(
                421,
                "misdirected",
                f"not known here as {name[:255]!r}: the setting http.allowed_hosts lists names",
            )
            await refused(scope, receive, send)
        elif self._too_often(scope):
            refused = problem(429, "too_many_requests", "slow down", {"Retry-After": "1"})
            await refused(scope, receive, send)
        elif sum(len(key) + len(value) for key, value in headers.raw) > MOST_HEADER_BYTES:
            refused = problem(431, "too_large", f"headers have at most {MOST_HEADER_BYTES} bytes")
            await refused(scope, receive, send)
        elif _announced(headers) > MOST_BODY_BYTES:
            refused = problem(413, "too_large", _TOO_LARGE, {"Connection": "close"})
            await refused(scope, receive, send)
        else:
            await self._app(scope, _counted(receive), send)

    def _too_often(self, scope: Message) -> bool:
        if self._rate is None or scope["path"] in _HEALTH:
            return False
        client = scope.get("client")
        return not self._rate.allows("" if client is None else client[0])


class Rate:
    """A token bucket for each client's address; those that asked last are remembered."""

    def __init__(self, per_s: float, clock: Clock) -> None:
        self._per_s = per_s
        self._most = max(1.0, per_s * _BURST_S)
        self._clock = clock
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def allows(self, client: str) -> bool:
        """Whether this client may ask once more now; if so it is counted."""
        now = self._clock.monotonic()
        left, at = self._left.pop(client, (self._most, now))
        left = min(self._most, left + (now - at) * self._per_s)
        allowed = left >= 1.0
        self._left[client] = (left - 1.0 if allowed else left, now)
        if len(self._left) > _MOST_CLIENTS:
            self._left.popitem(last=False)
        return allowed


def host_name(header: str) -> str:
    """The name in a Host header, without its port."""
    name = header.strip().lower()
    if name.startswith("["):
        return name.partition("]")[0].removeprefix("[")
    return name.partition(":")[0].rstrip(".")


def is_address(name: str) -> bool:
    """Whether it is an IP address. Only a name can be made to point somewhere else."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def is_loopback(name: str) -> bool:
    """Whether only this machine is meant."""
    return name == "localhost" or (is_address(name) and ipaddress.ip_address(name).is_loopback)


_TOO_LARGE = f"a body has at most {MOST_BODY_BYTES} bytes"


def _announced(headers: Headers) -> int:
    length = headers.get("content-length", "0")
    return int(length) if length.isascii() and length.isdigit() else 0


def _counted(receive: Receive) -> Receive:
    """Of a body that does not say how large it is, no more than the limit is taken in."""
    taken = 0

    async def counted() -> Message:
        nonlocal taken
        message = await receive()
        taken += len(message.get("body", b""))
        if taken > MOST_BODY_BYTES:
            raise HTTPException(413, _TOO_LARGE, {"Connection": "close"})
        return message

    return counted
