"""`/api/queries`: what is tracked, and tracking; `/api/voice`: each query's share of voice."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from worker.clock import Clock
from worker.trends.api.answers import Answers
from worker.trends.api.ask import ERRORS, Span, coarse_of
from worker.trends.queries import (
    LONGEST_NAME,
    BadQueryNameError,
    FixedQueryError,
    QueryStore,
    QuerySyntaxError,
    TooManyQueriesError,
)
from worker.trends.queries import Query as TrackedQuery
from worker.trends.query_syntax import LONGEST
from worker.trends.store import TrendReader
from worker.trends.windows import Window
from worker.web.problems import BadQueryError, ConflictError, NotFoundError, Problem, SyntaxProblem
from worker.web.token import REFUSALS, Guard

Name = Annotated[str, Path(min_length=1, max_length=LONGEST_NAME, description="What the query is called.")]


class Wanted(BaseModel):
    """What to look for."""

    model_config = ConfigDict(extra="forbid")

    expression: str = Field(
        min_length=1,
        max_length=LONGEST,
        description='Words, prefixes (`word*`), "phrases", #hashtags, @mentions, `author:`, `lang:`, '
        "`source:`, with AND, OR, NOT and brackets; side by side means AND.",
        examples=['("our brand" OR #brand) lang:en NOT hiring'],
    )


class Tracked(BaseModel):
    """One tracked query."""

    name: str
    expression: str
    since: datetime | None = Field(description="From when on its posts are counted.")
    origin: Literal["api", "file"] = Field(description="file: set in `trends.queries_file`, changed there.")


class TrackedQueries(BaseModel):
    """All of them."""

    n: int = Field(description="How many.")
    queries: list[Tracked]


class QueriesAnswer(BaseModel):
    """What is tracked."""

    status: Literal["success"] = "success"
    data: TrackedQueries


class TrackedAnswer(BaseModel):
    """What has been done."""

    status: Literal["success"] = "success"
    data: Tracked


class Removed(BaseModel):
    """Which query is gone."""

    name: str


class RemovedAnswer(BaseModel):
    """What has been done."""

    status: Literal["success"] = "success"
    data: Removed


class Voice(BaseModel):
    """One query's share of voice."""

    name: str
    n: int = Field(description="Posts that match it.")
    share: float | None = Field(description="Of the matches of all queries; null where there are none.")
    since: datetime | None = Field(description="From when on its posts are counted.")


class Voices(BaseModel):
    """Every query's share of voice; most first."""

    start: int = Field(alias="from")
    end: int = Field(alias="to")
    n: int = Field(description="Matches of all queries together; a post that matches two counts in both.")
    queries: list[Voice]


class VoiceAnswer(BaseModel):
    """What a question is answered with."""

    status: Literal["success"] = "success"
    data: Voices


def queries_router(
    reader: TrendReader, queries: QueryStore, clock: Clock, answers: Answers, guard: Guard
) -> APIRouter:
    """The routes of tracked queries; `guard` is asked before any change."""
    router = APIRouter(prefix="/api", tags=["queries"])
    changing = {
        **ERRORS,
        **REFUSALS,
        400: {"model": SyntaxProblem | Problem, "description": "No such query can be: `bad_data`."},
        404: {"model": Problem, "description": "No query of this name is tracked: `not_found`."},
        409: {"model": Problem, "description": "Too many queries, or one that a file sets: `conflict`."},
    }

    @router.get("/queries", response_model=QueriesAnswer, responses=ERRORS, summary="What is tracked")
    def tracked() -> Any:
        found = queries.list()
        return {"data": {"n": len(found), "queries": [_shown(query) for query in found]}}

    @router.put(
        "/queries/{name}",
        response_model=TrackedAnswer,
        responses=changing,
        dependencies=[Depends(guard)],
        summary="Track a query",
    )
    def track(name: Name, wanted: Wanted) -> Any:
        try:
            return {"data": _shown(queries.put(TrackedQuery(name=name, expression=wanted.expression)))}
        except QuerySyntaxError as error:
            raise BadQueryError(str(error), position=error.position) from None
        except BadQueryNameError as error:
            raise BadQueryError(str(error)) from None
        except (FixedQueryError, TooManyQueriesError) as error:
            raise ConflictError(str(error)) from None

    @router.delete(
        "/queries/{name}",
        response_model=RemovedAnswer,
        responses=changing,
        dependencies=[Depends(guard)],
        summary="Track it no longer",
    )
    def remove(name: Name) -> Any:
        try:
            removed = queries.remove(name)
        except FixedQueryError as error:
            raise ConflictError(str(error)) from None
        if not removed:
            raise NotFoundError(f"no query called {name!r} is tracked")
        return {"data": {"name": name}}

    @router.get("/voice", response_model=VoiceAnswer, responses=ERRORS, summary="Share of voice")
    def voice(request: Request, asked: Annotated[Span, Query()]) -> Response:
        window = coarse_of(asked, clock.time())
        return answers.give(request, ("voice", window), lambda: _voices(reader, queries, window))

    return router


def _shown(query: TrackedQuery) -> dict[str, Any]:
    return {
        "name": query.name, "expression": query.expression, "since": query.since, "origin": query.origin,
    }  # fmt: skip


def _voices(reader: TrendReader, queries: QueryStore, window: Window) -> dict[str, Any]:
    voice = reader.voice(window)
    found = [(query, voice.get(query.name, 0)) for query in queries.list()]
    n = sum(matches for _, matches in found)
    found.sort(key=lambda one: (-one[1], one[0].name))
    return {
        "from": window.start,
        "to": window.end,
        "n": n,
        "queries": [
            {
                "name": query.name,
                "n": matches,
                "share": round(matches / n, 6) if n else None,
                "since": query.since,
            }
            for query, matches in found
        ],
    }
