"""`GET /api/quality`: how right the models are, as people see it."""

from __future__ import annotations

from typing import Any

import msgspec
from fastapi import APIRouter, Response

from worker.quality.report import Report
from worker.web.problems import Problem, problem

_RETRY_AFTER_S = 5


class Board:
    """The latest report, from the thread that computes to those that answer."""

    def __init__(self) -> None:
        self.report: Report | None = None
        """None while this instance does not own the corrections or has not read its table yet."""


class Answer(msgspec.Struct, frozen=True):
    """The body of a good answer."""

    data: Report
    status: str = "success"


_ENCODE = msgspec.json.Encoder().encode


def quality_router(board: Board) -> APIRouter:
    """The route."""
    router = APIRouter(prefix="/api", tags=["quality"])
    [schema], components = msgspec.json.schema_components(
        [Answer], ref_template="#/components/schemas/{name}"
    )
    described: dict[int | str, dict[str, Any]] = {
        200: {"content": {"application/json": {"schema": _inlined(schema, components)}}},
        503: {"model": Problem, "description": "A spare, or one that still reads its table: ask again."},
    }

    @router.get("/quality", responses=described, response_class=Response, summary="Accuracy as people see it")
    def quality() -> Response:
        """Accuracy and macro F1 per model, window and slice, always with n and an interval; who disagrees."""
        if board.report is None:
            again = {"Retry-After": str(_RETRY_AFTER_S)}
            return problem(503, "unavailable", "this instance does not have the judgements (yet)", again)
        return Response(_ENCODE(Answer(board.report)), media_type="application/json")

    return router


def _inlined(schema: dict[str, Any], components: dict[str, Any]) -> dict[str, Any]:
    """The schema with every reference replaced: FastAPI collects components of its own models only."""

    def resolve(node: Any) -> Any:
        if isinstance(node, dict):
            if "$ref" in node:
                return resolve(components[node["$ref"].rpartition("/")[2]])
            return {name: resolve(value) for name, value in node.items()}
        return [resolve(value) for value in node] if isinstance(node, list) else node

    resolved: dict[str, Any] = resolve(schema)
    return resolved
