"""`GET /api/alerts`: spikes and drifts that were found, newest first; as CSV for spreadsheets and Grafana."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from worker.clock import Clock
from worker.trends.alerts.describe import sentence
from worker.trends.alerts.ledger import Ledger
from worker.trends.api import BadQueryError, parse_time
from worker.trends.store import StoreUnavailableError
from worker.trends.windows import DAY
from worker.types import Alert, AlertKind, DriftMeasure, Emotion
from worker.web.problems import Problem, problem

_RETRY_AFTER_S = 5
COLUMNS = (
    "time", "time_end", "kind", "emotion", "query", "posts", "usual", "ratio", "n", "usual_share", "terms",
    "samples", "text", "measure",
)  # fmt: skip
"""Of the CSV."""
_SCANNED = 1000
"""Alerts looked at for those of one kind, emotion or query."""


class AlertsQuery(BaseModel):
    """The question. Other parameters are refused, so that a typing error does not pass for an answer."""

    model_config = ConfigDict(extra="forbid")

    start: str | None = Field(
        default=None,
        alias="from",
        description="Start: RFC 3339, epoch seconds, or relative to now. Default: a week before the end.",
        examples=["-24h", "2026-01-01T12:00:00Z"],
    )
    end: str | None = Field(default=None, alias="to", description="End, in the same forms. Default: now.")
    kind: AlertKind | None = Field(default=None, description="Only alerts of this kind.")
    emotion: Emotion | None = Field(default=None, description="Only alerts of this emotion.")
    query: str | None = Field(default=None, description="Only alerts of this tracked query.")
    limit: int = Field(default=100, ge=1, le=1000, description="Most alerts answered.")
    format: Literal["json", "csv"] = Field(default="json", description="csv: a line per alert.")


class WindowShown(BaseModel):
    """A span of event time in epoch seconds, as /api/trends takes it."""

    start: int = Field(alias="from")
    end: int = Field(alias="to", description="Not included.")


class AlertShown(BaseModel):
    """One spike or drift, as the alerts topic has it, and in a sentence."""

    id: str
    kind: str
    window: WindowShown
    value: int | float = Field(
        description="Posts in the window; of a drift the population stability index of its labels."
    )
    baseline: float = Field(
        description="Posts that such a window usually has; of a drift that of usual hours."
    )
    measure: DriftMeasure | None = Field(description="What has drifted; null for a spike.")
    ratio: float = Field(description="value / baseline.")
    n: int = Field(description="All posts in the window that value is a part of.")
    share: float | None = Field(description="value / n; null where there is nothing to be a part of.")
    share_baseline: float | None = Field(description="What that share usually is.")
    emotion: str | None = Field(description="null where none is meant.")
    query: str | None = Field(description="Name of the tracked query; null for all posts.")
    terms: list[str] = Field(description="What these posts speak of more than others, best first.")
    samples: list[str | int] = Field(description="Ids of some of these posts.")
    models: list[str] = Field(description="What labelled the posts of the window, most first.")
    at: str = Field(description="When it was found, RFC 3339.")
    text: str = Field(description="The alert in a sentence.")


class Alerts(BaseModel):
    """Newest first."""

    alerts: list[AlertShown]


class AlertsAnswer(BaseModel):
    """What a question is answered with."""

    status: Literal["success"] = "success"
    data: Alerts


def alerts_router(ledger: Ledger, clock: Clock) -> APIRouter:
    """The route of the alerts API."""
    router = APIRouter(prefix="/api", tags=["alerts"])
    errors: dict[int | str, dict[str, Any]] = {
        400: {"model": Problem, "description": "The question cannot be answered: `bad_data`."},
        503: {"model": Problem, "description": "Redis is away: `unavailable`; ask again after Retry-After."},
        "default": {"model": Problem, "description": "Any other failure."},
    }

    described = {200: {"content": {"text/csv": {"schema": {"type": "string"}}}}, **errors}

    @router.get(
        "/alerts",
        response_model=AlertsAnswer,
        responses=described,
        summary="Spikes and drifts that were found",
    )
    def alerts(query: Annotated[AlertsQuery, Query()]) -> AlertsAnswer | Response:
        now = clock.time()
        try:
            end = now if query.end is None else parse_time("to", query.end, now)
            start = max(0.0, end - 7 * DAY) if query.start is None else parse_time("from", query.start, now)
            if start >= end:
                raise BadQueryError("from must be before to")
            found = ledger.find(start, end, max(query.limit, _SCANNED))
        except BadQueryError as error:
            return problem(400, "bad_data", str(error))
        except StoreUnavailableError as error:
            again = {"Retry-After": str(_RETRY_AFTER_S)}
            return problem(503, "unavailable", f"{error.dependency} does not answer", again)
        wanted = [alert for alert in found if _asked_for(alert, query)][: query.limit]
        if query.format == "csv":
            return Response(as_csv(wanted), media_type="text/csv; charset=utf-8")
        return AlertsAnswer(data=Alerts(alerts=[_shown(alert) for alert in wanted]))

    return router


def _asked_for(alert: Alert, query: AlertsQuery) -> bool:
    return (
        query.kind in (None, alert.kind)
        and query.emotion in (None, alert.emotion)
        and query.query in (None, alert.query)
    )


def as_csv(alerts: Sequence[Alert]) -> str:
    """A line per alert; times are RFC 3339, UTC. No cell is a formula, whatever posts and queries say."""
    lines = io.StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    writer.writerow(COLUMNS)
    for alert in alerts:
        times = (datetime.fromtimestamp(at, UTC) for at in (alert.window.start, alert.window.end))
        share = "" if alert.share_baseline is None else alert.share_baseline
        cells = [
            *(f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in times),
            alert.kind, alert.emotion or "", alert.query or "", alert.value,
            alert.baseline, alert.ratio, alert.n, share,
            " ".join(alert.terms), " ".join(map(str, alert.samples)), sentence(alert),
            alert.measure or "",
        ]  # fmt: skip
        writer.writerow(_inert(cell) if isinstance(cell, str) else cell for cell in cells)
    return lines.getvalue()


def _inert(cell: str) -> str:
    """Spreadsheets run what begins so (OWASP, "CSV Injection")."""
    return f"'{cell}" if cell.startswith(("=", "+", "-", "@", "\t", "\r")) else cell


def _shown(alert: Alert) -> AlertShown:
    return AlertShown(
        id=alert.id,
        kind=alert.kind,
        window=WindowShown.model_validate({"from": alert.window.start, "to": alert.window.end}),
        value=alert.value,
        baseline=alert.baseline,
        measure=alert.measure,
        ratio=alert.ratio,
        n=alert.n,
        share=alert.value / alert.n if alert.share_baseline is not None and alert.n else None,
        share_baseline=alert.share_baseline,
        emotion=alert.emotion,
        query=alert.query,
        terms=list(alert.terms),
        samples=list(alert.samples),
        models=list(alert.models),
        at=alert.at.isoformat(),
        text=sentence(alert),
    )
