"""The one shape of every error that the API answers, and the errors that a route raises to answer it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field

from worker.errors import MoodstreamError

RETRY_AFTER_S = 5
"""When to ask again where a server behind the API is away."""


class RequestError(MoodstreamError):
    """A request that is not done. Raise a subclass: the application answers it, whoever raised it."""

    status: int = 500
    kind: str = "internal"
    headers: ClassVar[Mapping[str, str]] = {}

    def __init__(self, message: str, **more: object) -> None:
        super().__init__(message)
        self.more = more
        """What the answer holds besides."""


class BadQueryError(RequestError):
    """A question that cannot be answered; its message says what would be accepted."""

    status = 400
    kind = "bad_data"


class NotFoundError(RequestError):
    """What was asked about is not there."""

    status = 404
    kind = "not_found"


class ConflictError(RequestError):
    """It would make sense elsewhere or later, but not as things stand here."""

    status = 409
    kind = "conflict"


class TooManyError(RequestError):
    """As many as can be served at once are being served."""

    status = 503
    kind = "unavailable"
    headers: ClassVar[Mapping[str, str]] = {"Retry-After": str(RETRY_AFTER_S)}


class Problem(BaseModel):
    """An error, as Prometheus' HTTP API words it."""

    status: Literal["error"] = "error"
    errorType: str = Field(  # noqa: N815 - Prometheus' name
        description="Stable name of the kind of error.",
        examples=["bad_data", "unauthorized", "unavailable", "not_found", "conflict", "internal"],
    )
    error: str = Field(description="What is wrong, and what would be accepted.")


class SyntaxProblem(Problem):
    """An error at a place of the expression that was sent."""

    position: int = Field(description="At which character, counted from 0.")


def problem(
    status: int, kind: str, error: str, headers: Mapping[str, str] | None = None, **more: object
) -> JSONResponse:
    """An answer that carries a `Problem`."""
    body = {**Problem(errorType=kind, error=error).model_dump(), **more}
    return JSONResponse(body, status_code=status, headers=dict(headers or {}))
