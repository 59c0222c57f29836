"""The one shape of every error that the API answers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field


class Problem(BaseModel):
    """An error, as Prometheus' HTTP API words it."""

    status: Literal["error"] = "error"
    errorType: str = Field(  # noqa: N815 - Prometheus' name
        description="Stable name of the kind of error.",
        examples=["bad_data", "unavailable", "not_found", "internal"],
    )
    error: str = Field(description="What is wrong, and what would be accepted.")


def problem(status: int, kind: str, error: str, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """An answer that carries a `Problem`."""
    return JSONResponse(
        Problem(errorType=kind, error=error).model_dump(), status_code=status, headers=dict(headers or {})
    )
