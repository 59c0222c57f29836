"""The HTTP application of every role: health, metrics, and what a role adds.

    GET /livez     200 while the loop moves, else 503: restart this process
    GET /readyz    200 when every condition holds, else 503; both name each condition
    GET /metrics   Prometheus' text format, or OpenMetrics for who asks for it

Every error, whoever raises it, has the body of Prometheus' API: `{"status", "errorType", "error"}`.
"""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from prometheus_client.exposition import choose_encoder
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException

from worker import metrics as m
from worker.clock import Clock
from worker.errors import DependencyError
from worker.metrics import Metrics
from worker.settings import HttpSettings
from worker.web.health import Health
from worker.web.limits import Application, Limits, Message, Receive, Send
from worker.web.problems import RETRY_AFTER_S, RequestError, problem

_SECURITY = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
"""Sent with every answer that does not set its own: a page that needs scripts says so itself."""

_KINDS = {401: "unauthorized", 403: "forbidden", 404: "not_found", 413: "too_large"}


def create_app(
    metrics: Metrics,
    health: Health,
    clock: Clock,
    *,
    http: HttpSettings | None = None,
    title: str = "moodstream",
    routers: Sequence[APIRouter] = (),
) -> FastAPI:
    """The application: health and metrics, and what `routers` add, within the limits of `http`.

    /openapi.json describes it; there are no documentation pages, because FastAPI's load from a CDN.
    """
    app = FastAPI(
        title=title,
        docs_url=None,
        redoc_url=None,
        exception_handlers={
            RequestValidationError: _invalid,
            HTTPException: _refused,
            RequestError: _not_done,
            DependencyError: _away,
            Exception: _failed,
        },
    )
    app.add_middleware(Limits, http=http or HttpSettings(), clock=clock)
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
    """No such path, not with this method, or not without the token."""
    assert isinstance(error, HTTPException)  # noqa: S101
    kind = _KINDS.get(error.status_code, "bad_request")
    return problem(error.status_code, kind, str(error.detail), dict(error.headers or {}))


async def _not_done(_request: Request, error: Exception) -> Response:
    """A route says why."""
    assert isinstance(error, RequestError)  # noqa: S101
    return problem(error.status, error.kind, str(error), error.headers, **error.more)


async def _away(_request: Request, error: Exception) -> Response:
    """Why it is away (addresses of ours among it) is for the log and the metrics of the role."""
    assert isinstance(error, DependencyError)  # noqa: S101
    again = {"Retry-After": str(RETRY_AFTER_S)}
    return problem(503, "unavailable", f"{error.dependency} does not answer", again)


async def _failed(_request: Request, _error: Exception) -> Response:
    """A fault of ours: the details are for the log (uvicorn writes them), not for the caller."""
    # The server closes the connection behind it: said, so that no client sends its next request there.
    headers = {**_SECURITY, "Connection": "close"}
    return problem(500, "internal", "this request failed; the log says why", headers)


class _Observed:
    """Counts and times every answer by its route's template, so that the number of series is bounded."""

    def __init__(self, app: Application, metrics: Metrics, clock: Clock) -> None:
        self._app = app
        self._clock = clock
        self._requests = metrics.counter(m.HTTP_REQUESTS)
        self._seconds = metrics.histogram(m.HTTP_SECONDS)

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what the server answers for us when nothing was sent

        async def observed(message: Message) -> None:
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

    def __init__(self, app: Application) -> None:
        self._app = app

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def secured(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            await send(message)

        await self._app(scope, receive, secured)
