"""What every question has in common: a span of time, which posts, and what is refused.

Times are RFC 3339, epoch seconds, `now`, or relative to now (`-1h`); steps are whole minutes (`1m`, `5m`,
`1h`, `1d`, or seconds). Steps begin at multiples of their length since the epoch, UTC, and the span asked
for is widened to whole steps, so that the same question gives the same steps whenever it is asked.
"""

from __future__ import annotations

import re
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from worker.times import duration_s, moment
from worker.trends.store import Filter
from worker.trends.windows import DAY, HOUR, MINUTE, Window
from worker.web.problems import BadQueryError, Problem

MOST_POINTS = 11_000
"""Per series; Prometheus' own limit."""
MOST_BY_MINUTE_S = 35 * DAY
MOST_BY_HOUR_S = 3660 * DAY
"""Longest spans, because reading is by the minute unless the step is whole hours."""
MOST_DETAIL_S = 92 * DAY
"""Longest span of authors, terms and samples: as long as they are kept where no setting says otherwise."""

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": Problem, "description": "The question cannot be answered: `bad_data`."},
    503: {"model": Problem, "description": "Redis is away: `unavailable`; ask again after Retry-After."},
    "default": {"model": Problem, "description": "Any other failure."},
}
"""For the `responses` of a route."""

NARROWED_ERRORS: dict[int | str, dict[str, Any]] = {
    **ERRORS,
    404: {"model": Problem, "description": "No query of this name is tracked: `not_found`."},
}
"""The same of a route that takes a tracked query."""


class Span(BaseModel):
    """From when to when. Other parameters are refused, so that a typing error does not pass for an answer."""

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


class Narrowed(Span):
    """And which posts; one of the three at a time."""

    source: str | None = Field(default=None, description="Only posts of this source.")
    lang: str | None = Field(default=None, description="Only posts in this language.")
    query: str | None = Field(
        default=None, description="Only posts that match the tracked query of this name."
    )


def filter_of(asked: Narrowed) -> Filter:
    """Which posts a question is about.

    Raises:
        BadQueryError: more than one of source, language and query.
    """
    try:
        return Filter(source=asked.source, lang=asked.lang, query=asked.query)
    except ValueError as error:
        raise BadQueryError(str(error)) from None


def window_of(asked: Span, step: str, now: float) -> Window:
    """The window that a question asks for.

    Raises:
        BadQueryError: it asks for none, or for more than is answered at once.
    """
    seconds = parse_step(step)
    window = Window.around(*_ends(asked, now), seconds)
    if window.steps > MOST_POINTS:
        raise BadQueryError(
            f"{window.steps} points are more than {MOST_POINTS}: ask for a longer step or a shorter span"
        )
    span = window.end - window.start
    if seconds % HOUR and span > MOST_BY_MINUTE_S:
        raise BadQueryError(
            f"steps that are not whole hours reach over at most {MOST_BY_MINUTE_S // DAY} days: use step=1h"
        )
    if span > MOST_BY_HOUR_S:
        raise BadQueryError(f"the span is longer than {MOST_BY_HOUR_S // DAY} days")
    return window


def detail_of(asked: Span, now: float) -> Window:
    """The window of a question about details: authors, terms, samples.

    Raises:
        BadQueryError: it asks for none, or for more than is answered at once.
    """
    window = Window.around(*_ends(asked, now), MINUTE)
    if window.end - window.start > MOST_DETAIL_S:
        raise BadQueryError(f"the span is longer than {MOST_DETAIL_S // DAY} days")
    return window


def coarse_of(asked: Span, now: float) -> Window:
    """The window of a question about totals: in the coarsest steps that do not widen it by much.

    Raises:
        BadQueryError: it asks for none, or for more than is answered at once.
    """
    start, end = _ends(asked, now)
    step = MINUTE if end - start <= 6 * HOUR else HOUR if end - start <= 14 * DAY else DAY
    if end - start > MOST_BY_HOUR_S:
        raise BadQueryError(f"the span is longer than {MOST_BY_HOUR_S // DAY} days")
    return Window.around(start, end, step)


def _ends(asked: Span, now: float) -> tuple[float, float]:
    end = now if asked.end is None else parse_time("to", asked.end, now)
    start = end - HOUR if asked.start is None else parse_time("from", asked.start, now)
    if start >= end:
        raise BadQueryError("from must be before to")
    return start, end


def parse_step(text: str) -> int:
    """Seconds of a step.

    Raises:
        BadQueryError: it is not whole minutes.
    """
    seconds = duration_s(text) or 0
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
    try:
        return moment(text, now)
    except ValueError as error:
        raise BadQueryError(f"{name} must {error}") from None
