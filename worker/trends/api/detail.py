"""`GET /api/terms`, `/api/samples` and `/api/names`: what posts are about, some posts, what to ask for."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from worker.clock import Clock
from worker.trends.api.answers import Answers
from worker.trends.api.ask import ERRORS, NARROWED_ERRORS, Narrowed, Span, detail_of, filter_of
from worker.trends.store import TrendReader
from worker.trends.windows import HOUR, TIERS, Window
from worker.types import LabelName


class TermsQuery(Span):
    """Which terms."""

    emotion: LabelName = Field(description="What the posts express.")
    kind: Literal["term", "hashtag", "emoji"] = Field(default="term", description="What kind of terms.")
    limit: int = Field(default=10, ge=1, le=100, description="At most so many.")


class TermFound(BaseModel):
    """A word, hashtag or emoji that stands out."""

    term: str
    n: int = Field(description="Posts of the emotion that hold it.")
    lift: float = Field(description="How many times as often as in all posts; near 1 where n is small.")


class Terms(BaseModel):
    """What stands out in one emotion, most first."""

    start: int = Field(
        alias="from", description="Start of the first hour looked at, or day where hours are many."
    )
    end: int = Field(alias="to", description="The end of the last one.")
    emotion: str
    kind: str
    n: int = Field(description="Posts of this emotion in that time.")
    terms: list[TermFound]


class TermsAnswer(BaseModel):
    """What a question is answered with."""

    status: Literal["success"] = "success"
    data: Terms


class SamplesQuery(Narrowed):
    """Which posts."""

    emotion: LabelName | None = Field(default=None, description="Only posts that express this.")
    limit: int = Field(default=50, ge=1, le=500, description="At most so many.")


class SampleFound(BaseModel):
    """One post."""

    id: str | int
    label: LabelName
    score: float
    created_at: datetime
    source: str
    lang: str | None = None
    text: str | None = Field(default=None, description="Only where `trends.store_text` is on.")
    input: str = Field(description="`topic/partition/offset` of the post.")
    label_ref: str = Field(description="The same of its label: what a correction names.")


class Samples(BaseModel):
    """Some posts of a span of time, newest first."""

    start: int = Field(alias="from")
    end: int = Field(alias="to")
    n: int = Field(description="How many there are here. They are a sample: judge no share by them.")
    samples: list[SampleFound]


class SamplesAnswer(BaseModel):
    """What a question is answered with."""

    status: Literal["success"] = "success"
    data: Samples


class Names(BaseModel):
    """What can be asked for by name."""

    sources: list[str]
    langs: list[str]


class NamesAnswer(BaseModel):
    """What a question is answered with."""

    status: Literal["success"] = "success"
    data: Names


def detail_router(reader: TrendReader, clock: Clock, answers: Answers) -> APIRouter:
    """The routes that drill down."""
    router = APIRouter(prefix="/api", tags=["detail"])

    @router.get(
        "/terms", response_model=TermsAnswer, responses=ERRORS, summary="What stands out in an emotion"
    )
    def terms(request: Request, asked: Annotated[TermsQuery, Query()]) -> Response:
        window = _looked_at(detail_of(asked, clock.time()))
        key = ("terms", window, asked.emotion, asked.kind, asked.limit)
        return answers.give(request, key, lambda: _terms(reader.steady(), window, asked), end=window.end)

    @router.get(
        "/samples", response_model=SamplesAnswer, responses=NARROWED_ERRORS, summary="Some of the posts"
    )
    def samples(request: Request, asked: Annotated[SamplesQuery, Query()]) -> Response:
        window = detail_of(asked, clock.time())
        narrowed = filter_of(asked)

        def find() -> dict[str, Any]:
            found = reader.samples(window, asked.emotion, narrowed, asked.limit)
            return {"from": window.start, "to": window.end, "n": len(found), "samples": found}

        # No `end`: a sample goes when its post is deleted, and no client may keep it.
        return answers.give(request, ("samples", window, asked.emotion, narrowed, asked.limit), find)

    @router.get("/names", response_model=NamesAnswer, responses=ERRORS, summary="Sources and languages")
    def names(request: Request) -> Response:
        return answers.give(
            request, "names", lambda: {"sources": reader.names("source"), "langs": reader.names("lang")}
        )

    return router


def _looked_at(window: Window) -> Window:
    """The whole hours or days that terms are read of, so that n is of the same posts."""
    buckets = window.detail_buckets()
    first, last = buckets[0], buckets[-1]
    end = (last.number + 1) * TIERS[last.letter].span_s
    return Window(first.number * TIERS[first.letter].span_s, end, HOUR)


def _terms(reader: TrendReader, window: Window, asked: TermsQuery) -> dict[str, Any]:
    found = reader.terms(window, asked.emotion, asked.kind, asked.limit)
    return {
        "from": window.start,
        "to": window.end,
        "emotion": asked.emotion,
        "kind": asked.kind,
        "n": reader.read(window).totals[asked.emotion],
        "terms": [{"term": one.term, "n": one.n, "lift": round(one.lift, 4)} for one in found],
    }
