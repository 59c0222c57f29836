"""The HTTP application of every role: health, metrics, and what a role adds.

    GET /livez     200 while the loop moves, else 503: restart this process
    GET /readyz    200 when every condition holds, else 503; both name each condition
    GET /metrics   Prometheus' text format, or OpenMetrics for who asks for it

Every error, whoever raises it, has the body of Prometheus' API: `{"status", "errorType", "error"}`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from worker import metrics as m
from worker.clock import Clock
from worker.metrics import Metrics
from worker.web.health import Health
from worker.web.problems import problem

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every answer that does not set its own: a page that needs scripts says so itself."""

_Message = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[_Message]]
_Send = Callable[[_Message], Awaitable[None]]
_Application = Callable[[_Message, _Receive, _Send], Awaitable[None]]


def create_app(
    metrics: Metrics,
    health: Health,
    clock: Clock,
    *,
    title: str = "moodstream",
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """The application: health and metrics, and what `routers` add.

    /openapi.json describes it; there are no documentation pages, because FastAPI's load from a CDN.
    """
    app = FastAPI(
        title=title,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            RequestValidationError: _invalid,
            HTTPException: _refused,
            Exception: _failed,
        },
    )
    app.add_middleware(_Observed, metrics=metrics, clock=clock)
    app.add_middleware(_Secured)
    app.include_router(_operations(metrics, health))
    for router in routers:
        app.include_router(router)
    return app


def _operations(metrics: Metrics, health: Health) -> APIRouter:
    router = APIRouter(include_in_schema=False)

    @router.get("/livez")
    async def livez() -> JSONResponse:
        alive = health.alive
        answer = {"alive": alive, "still_s": round(health.still_s, 3)}
        return JSONResponse(answer, status_code=200 if alive else 503)

    @router.get("/readyz")
    async def readyz() -> JSONResponse:
        conditions = health.conditions()
        ready = all(conditions.values())
        answer = {"ready": ready, "conditions": conditions}
        return JSONResponse(answer, status_code=200 if ready else 503)

    @router.get("/metrics")
    def exposition(request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(metrics.registry), media_type=content_type)

    return router


async def _invalid(_request: Request, error: Exception) -> Response:
    """What FastAPI would answer with 422 and a structure of its own."""
    assert isinstance(error, RequestValidationError)  # noqa: S101
    reasons = (f"{'.'.join(map(str, item['loc'][1:]))}: {item['msg']}" for item in error.errors())
    return problem(400, "bad_data", "; ".join(reasons))


async def _refused(_request: Request, error: Exception) -> Response:
    """No such path, or not with this method."""
    assert isinstance(error, HTTPException)  # noqa: S101
    kind = "not_found" if error.status_code == 404 else "bad_request"
    return problem(error.status_code, kind, str(error.detail), dict(error.headers or {}))


async def _failed(_request: Request, _error: Exception) -> Response:
    """A fault of ours: the details are for the log (uvicorn writes them), not for the caller."""
    return problem(500, "internal", "this request failed; the log says why", _SECURITY)


class _Observed:
    """Counts and times every answer by its route's template, so that the number of series is bounded."""

    def __init__(self, app: _Application, metrics: Metrics, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._requests = metrics.counter(m.HTTP_REQUESTS)
        self._seconds = metrics.histogram(m.HTTP_SECONDS)

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what the server answers for us when nothing was sent

        async def observed(message: _Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        start = self._clock.monotonic()
        try:
            await self._app(scope, receive, observed)
        finally:
            route = getattr(scope.get("route"), "path", "unmatched")
            self._requests.labels(route, str(status)).inc()
            self._seconds.labels(route).observe(self._clock.monotonic() - start)


class _Secured:
    """Adds the security headers that an answer does not set itself."""

    def __init__(self, app: _Application) -> None:
        self._app = app

    async def __call__(self, scope: _Message, receive: _Receive, send: _Send) -> None:
        async def secured(message: _Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured)
