"""`GET /api/review`: labels for people to judge, of slices whose accuracy means something."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from worker.clock import Clock
from worker.settings import Settings
from worker.slices import Slice
from worker.trends.api.answers import Answers
from worker.trends.api.ask import ERRORS, Span, detail_of
from worker.trends.api.detail import SampleFound
from worker.trends.store import TrendReader

MOST = 5000
"""Of one answer; 24 hours hold 480 of a slice where `trends.samples` is as it comes."""


class ReviewQuery(Span):
    """Which labels."""

    slice: Slice = Field(description="`random`: drawn from all labels by chance. `low_margin`: close calls.")
    limit: int = Field(default=50, ge=1, le=MOST, description="At most so many.")


class Offered(BaseModel):
    """Labels of a slice. Review them from the first on: wherever you stop, it is chance that chose them."""

    start: int = Field(alias="from")
    end: int = Field(alias="to")
    slice: Slice
    random_share: float = Field(description="The part of all labels that the random slice is.")
    low_margin: float = Field(
        description="A close call is one whose best answer is less than this ahead of the second."
    )
    store_text: bool = Field(
        description="Whether `trends.store_text` is on. Texts also need `worker.label_text`; posts that were "
        "counted without have none."
    )
    n: int = Field(description="How many there are here; no more are offered now, unless it is the limit.")
    labels: list[SampleFound]


class ReviewAnswer(BaseModel):
    """What a question is answered with."""

    status: Literal["success"] = "success"
    data: Offered


def review_router(reader: TrendReader, settings: Settings, clock: Clock, answers: Answers) -> APIRouter:
    """The route; `POST /api/corrections` takes what people say, a label that is right among it."""
    router = APIRouter(prefix="/api", tags=["corrections"])
    review, store_text = settings.review, settings.trends.store_text == "on"

    @router.get("/review", response_model=ReviewAnswer, responses=ERRORS, summary="Labels to be reviewed")
    def offered(request: Request, asked: Annotated[ReviewQuery, Query()]) -> Response:
        window = detail_of(asked, clock.time())

        def find() -> dict[str, Any]:
            found = reader.review(window, asked.slice, settings.trends.samples, asked.limit)
            return {
                "from": window.start,
                "to": window.end,
                "slice": asked.slice,
                "random_share": review.random_share,
                "low_margin": review.low_margin,
                "store_text": store_text,
                "n": len(found),
                "labels": found,
            }

        # No `end`, as of samples: no client may keep a post that is deleted.
        return answers.give(request, ("review", window, asked.slice, asked.limit), find)

    return router
