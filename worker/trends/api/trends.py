"""`GET /api/trends`: how many posts expressed what, over time, and against the time before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, Field

from worker.clock import Clock
from worker.trends.api.answers import Answers
from worker.trends.api.ask import MOST_DETAIL_S, NARROWED_ERRORS, Narrowed, filter_of, window_of
from worker.trends.queries import QueryStore
from worker.trends.store import Filter, TrendReader
from worker.trends.windows import Trend, Window
from worker.types import LABELS, LabelName
from worker.web.problems import BadQueryError


class TrendsQuery(Narrowed):
    """The question."""

    step: str = Field(
        default="1m",
        description="Length of a step: whole minutes, as `5m`, `1h`, `1d` or in seconds.",
        examples=["1m", "5m", "1h", "1d", "300"],
    )
    emotion: LabelName | None = Field(default=None, description="Only this series.")
    compare: Literal["previous"] | None = Field(
        default=None, description="`previous`: also the window of the same length before this one."
    )
    format: Literal["json", "csv"] = Field(
        default="json", description="csv: a line per step, a column per emotion, and n."
    )


class Series(BaseModel):
    """One emotion."""

    emotion: str
    total: int = Field(description="Posts over all steps.")
    share: float | None = Field(description="Of all posts of the window; null where there are none.")
    mean_score: float | None = Field(description="Mean confidence of its labels; null where there are none.")
    points: list[tuple[int, int]] = Field(
        description="For every step its start in epoch seconds and its count, zeros included."
    )


class PreviousSeries(BaseModel):
    """One emotion in the window before."""

    emotion: str
    total: int
    share: float | None
    change: float | None = Field(
        description="(total now - total then) / total then; null where then was none."
    )


class Previous(BaseModel):
    """The window of the same length that ends where this one begins."""

    start: int = Field(alias="from")
    end: int = Field(alias="to")
    n: int
    series: list[PreviousSeries]


class Trends(BaseModel):
    """Counts of one span of time; all times in epoch seconds."""

    start: int = Field(alias="from", description="Start of the first step.")
    end: int = Field(alias="to", description="End of the last step, not included.")
    step: int = Field(description="Seconds.")
    n: int = Field(description="How many posts all series hold: judge shares by it.")
    unique_authors: int | None = Field(
        description="Different authors in the whole hours (over two days: whole days) that hold the window, "
        "within 2%; null for spans longer than 92 days, and for one emotion of a source, language or query."
    )
    since: int | None = Field(
        default=None,
        description="From when on posts of this tracked query are counted, where one is asked for.",
    )
    series: list[Series]
    previous: Previous | None = None


class TrendsAnswer(BaseModel):
    """What a question is answered with."""

    status: Literal["success"] = "success"
    data: Trends


def trends_router(reader: TrendReader, queries: QueryStore, clock: Clock, answers: Answers) -> APIRouter:
    """The route of the trends."""
    router = APIRouter(prefix="/api", tags=["trends"])
    described = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **NARROWED_ERRORS}

    @router.get("/trends", response_model=TrendsAnswer, responses=described, summary="Counts over time")
    def trends(request: Request, asked: Annotated[TrendsQuery, Query()]) -> Response:
        window = window_of(asked, asked.step, clock.time())
        narrowed = filter_of(asked)
        if asked.format == "csv":
            if asked.compare:
                raise BadQueryError("compare is for format=json: ask for the window before by from and to")
            key: tuple[object, ...] = ("csv", window, narrowed, asked.emotion)
            return answers.give(
                request, key, lambda: as_csv(reader.read(window, narrowed), asked.emotion), end=window.end
            )
        key = ("trends", window, narrowed, asked.emotion, asked.compare)
        return answers.give(
            request, key, lambda: _data(reader.steady(), queries, window, narrowed, asked), end=window.end
        )

    return router


def _data(
    reader: TrendReader, queries: QueryStore, window: Window, narrowed: Filter, asked: TrendsQuery
) -> dict[str, Any]:
    trend = reader.read(window, narrowed)
    data = shown(trend, asked.emotion)
    data["unique_authors"] = _authors(reader, window, narrowed, asked.emotion)
    if narrowed.query is not None:
        since = queries.find(narrowed.query).since
        data["since"] = None if since is None else int(since.timestamp())
    if asked.compare:
        length = window.end - window.start
        before = Window(window.start - length, window.start, window.step)
        data["previous"] = compared(reader.read(before, narrowed), trend, asked.emotion)
    return data


def _authors(reader: TrendReader, window: Window, narrowed: Filter, emotion: LabelName | None) -> int | None:
    if window.end - window.start > MOST_DETAIL_S:
        return None
    return reader.authors(window, narrowed).get(emotion or "all")


def shown(trend: Trend, emotion: LabelName | None = None) -> dict[str, Any]:
    """A trend as the API words it, of one emotion or of all; shares are of all posts in either case."""
    window, totals, scores = trend.window, trend.totals, trend.mean_scores
    starts = range(window.start, window.end, window.step)
    emotions = _emotions(emotion)
    return {
        "from": window.start,
        "to": window.end,
        "step": window.step,
        "n": sum(totals[each] for each in emotions),
        "series": [
            {
                "emotion": each,
                "total": totals[each],
                "share": _share(totals[each], trend.n),
                "mean_score": _rounded(scores[each]),
                "points": list(zip(starts, trend.counts[each], strict=True)),
            }
            for each in emotions
        ],
    }


def compared(before: Trend, now: Trend, emotion: LabelName | None = None) -> dict[str, Any]:
    """The window before, and what has changed since."""
    then, current = before.totals, now.totals
    emotions = _emotions(emotion)
    return {
        "from": before.window.start,
        "to": before.window.end,
        "n": sum(then[each] for each in emotions),
        "series": [
            {
                "emotion": each,
                "total": then[each],
                "share": _share(then[each], before.n),
                "change": _rounded(current[each] / then[each] - 1 if then[each] else None),
            }
            for each in emotions
        ],
    }


def as_csv(trend: Trend, emotion: LabelName | None = None) -> str:
    """A line per step: its start (RFC 3339, UTC), a count per emotion, n. Numbers and fixed names only."""
    emotions = _emotions(emotion)
    lines = [",".join(["time", *emotions, "n"])]
    columns: Mapping[str, Sequence[int]] = trend.counts
    for number, start in enumerate(range(trend.window.start, trend.window.end, trend.window.step)):
        counts = [columns[each][number] for each in emotions]
        time = datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        lines.append(",".join([time, *map(str, counts), str(sum(counts))]))
    return "\n".join(lines) + "\n"


def _emotions(emotion: LabelName | None) -> tuple[LabelName, ...]:
    return LABELS if emotion is None else (emotion,)


def _share(n: int, of: int) -> float | None:
    return _rounded(n / of if of else None)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 6)
