"""`GET /api/trends`: how many posts expressed what, over time.

Times are RFC 3339, epoch seconds, `now`, or relative to now (`-1h`); steps are whole minutes (`1m`, `5m`,
`1h`, `1d`, or seconds). Steps begin at multiples of their length since the epoch, UTC, and the span asked
for is widened to whole steps, so that the same question gives the same steps whenever it is asked.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Query
from fastapi.responses import JSONResponse
from pydantic import BaseModel, ConfigDict, Field

from worker.clock import Clock
from worker.errors import MoodstreamError
from worker.trends.store import StoreUnavailableError, TrendStore
from worker.trends.windows import DAY, HOUR, MINUTE, Trend, Window
from worker.types import LABELS, LabelName
from worker.web.problems import Problem, problem

MOST_POINTS = 11_000
"""Per series; Prometheus' own limit."""
MOST_BY_MINUTE_S = 35 * DAY
MOST_BY_HOUR_S = 3660 * DAY
"""Longest spans, because reading is by the minute unless the step is whole hours."""

_UNITS = {"s": 1, "m": MINUTE, "h": HOUR, "d": DAY, "w": 7 * DAY}
_DURATION = re.compile(r"([0-9]{1,9})([smhdw])")
_SECONDS = re.compile(r"[0-9]{1,20}(\.[0-9]{1,9})?")
_LATEST = 100_000_000_000
"""Epoch seconds of the year 5138: a larger number is one of milliseconds."""
_RETRY_AFTER_S = 5


class BadQueryError(MoodstreamError):
    """A question that cannot be answered; its message says what would be accepted."""


class TrendsQuery(BaseModel):
    """The question. Other parameters are refused, so that a typing error does not pass for an answer."""

    model_config = ConfigDict(extra="forbid")

    start: str | None = Field(
        default=None,
        alias="from",
        description="Start: RFC 3339, epoch seconds, or relative to now. Default: an hour before the end.",
        examples=["-1h", "2026-01-01T12:00:00Z"],
    )
    end: str | None = Field(
        default=None, alias="to", description="End, not included, in the same forms. Default: now."
    )
    step: str = Field(
        default="1m",
        description="Length of a step: whole minutes, as `5m`, `1h`, `1d` or in seconds.",
        examples=["1m", "5m", "1h", "1d", "300"],
    )
    source: str | None = Field(default=None, description="Count only posts of this source.")
    emotion: LabelName | None = Field(default=None, description="Only this series.")


class Series(BaseModel):
    """One emotion."""

    emotion: str
    total: int = Field(description="Over all steps.")
    points: list[tuple[int, int]] = Field(
        description="For every step its start in epoch seconds and its count, zeros included."
    )


class Trends(BaseModel):
    """Counts of one span of time; all times in epoch seconds."""

    start: int = Field(alias="from", description="Start of the first step.")
    end: int = Field(alias="to", description="End of the last step, not included.")
    step: int = Field(description="Seconds.")
    n: int = Field(description="How many posts all series hold: judge shares by it.")
    series: list[Series]


class TrendsAnswer(BaseModel):
    """What a question is answered with."""

    status: Literal["success"] = "success"
    data: Trends


def trends_router(store: TrendStore, clock: Clock) -> APIRouter:
    """The routes of the trends API."""
    router = APIRouter(prefix="/api", tags=["trends"])
    errors: dict[int | str, dict[str, Any]] = {
        400: {"model": Problem, "description": "The question cannot be answered: `bad_data`."},
        503: {"model": Problem, "description": "Redis is away: `unavailable`; ask again after Retry-After."},
        "default": {"model": Problem, "description": "Any other failure."},
    }

    @router.get("/trends", response_model=TrendsAnswer, responses=errors, summary="Counts over time")
    def trends(query: Annotated[TrendsQuery, Query()]) -> TrendsAnswer | JSONResponse:
        try:
            window = window_of(query, clock.time())
            trend = store.read(window, query.source)
        except BadQueryError as error:
            return problem(400, "bad_data", str(error))
        except StoreUnavailableError as error:
            again = {"Retry-After": str(_RETRY_AFTER_S)}
            return problem(503, "unavailable", f"{error.dependency} does not answer", again)
        return TrendsAnswer(data=_shown(trend, query.emotion))

    return router


def window_of(query: TrendsQuery, now: float) -> Window:
    """The window that a question asks for.

    Raises:
        BadQueryError: it asks for none, or for more than is answered at once.
    """
    step = parse_step(query.step)
    end = now if query.end is None else parse_time("to", query.end, now)
    start = end - HOUR if query.start is None else parse_time("from", query.start, now)
    if start >= end:
        raise BadQueryError("from must be before to")
    window = Window.around(start, end, step)
    if window.steps > MOST_POINTS:
        raise BadQueryError(
            f"{window.steps} points are more than {MOST_POINTS}: ask for a longer step or a shorter span"
        )
    span = window.end - window.start
    if step % HOUR and span > MOST_BY_MINUTE_S:
        raise BadQueryError(
            f"steps that are not whole hours reach over at most {MOST_BY_MINUTE_S // DAY} days: use step=1h"
        )
    if span > MOST_BY_HOUR_S:
        raise BadQueryError(f"the span is longer than {MOST_BY_HOUR_S // DAY} days")
    return window


def parse_step(text: str) -> int:
    """Seconds of a step.

    Raises:
        BadQueryError: it is not whole minutes.
    """
    duration = _DURATION.fullmatch(text)
    seconds = int(duration[1]) * _UNITS[duration[2]] if duration else 0
    if re.fullmatch(r"[0-9]{1,9}", text):
        seconds = int(text)
    if seconds <= 0 or seconds % MINUTE:
        raise BadQueryError("step must be whole minutes, such as 1m, 5m, 1h, 1d, or seconds such as 300")
    return seconds


def parse_time(name: str, text: str, now: float) -> float:
    """Epoch seconds of a point in time.

    Raises:
        BadQueryError: it is none; the message names the parameter.
    """
    relative = _DURATION.fullmatch(text.removeprefix("-")) if text.startswith("-") else None
    if text == "now":
        found = now
    elif relative:
        found = now - int(relative[1]) * _UNITS[relative[2]]
    elif _SECONDS.fullmatch(text):
        found = float(text)
    else:
        found = _rfc3339(name, text)
    if not 0 <= found < _LATEST:
        raise BadQueryError(f"{name} must lie between 1970 and 5138; epoch times are in seconds")
    return found


def _rfc3339(name: str, text: str) -> float:
    # A plus sign that was not written as %2B arrives as a space.
    try:
        moment = msgspec.convert(text.replace(" ", "+"), datetime)
    except msgspec.ValidationError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise BadQueryError(
            f"{name} must be RFC 3339 with a time zone (2026-01-01T12:00:00Z), epoch seconds, now, "
            "or relative such as -1h"
        )
    return moment.timestamp()


def _shown(trend: Trend, emotion: str | None) -> Trends:
    window, totals = trend.window, trend.totals
    emotions = LABELS if emotion is None else (emotion,)
    starts = range(window.start, window.end, window.step)
    series = [
        Series(emotion=each, total=totals[each], points=list(zip(starts, trend.counts[each], strict=True)))
        for each in emotions
    ]
    return Trends.model_validate(
        {
            "from": window.start,
            "to": window.end,
            "step": window.step,
            "n": sum(one.total for one in series),
            "series": series,
        }
    )
