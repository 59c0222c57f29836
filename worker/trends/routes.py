"""Everything that the trends role serves besides health and metrics."""

from __future__ import annotations

from fastapi import APIRouter

from worker.clock import Clock
from worker.settings import Settings
from worker.trends.api import (
    Answers,
    corrections_router,
    detail_router,
    live_router,
    queries_router,
    review_router,
    trends_router,
)
from worker.trends.corrections import Corrections
from worker.trends.live.hub import Hub
from worker.trends.queries import QueryStore
from worker.trends.store import TrendReader
from worker.web.page import page_router
from worker.web.token import token_guard


def routers(
    settings: Settings,
    *,
    reader: TrendReader,
    queries: QueryStore,
    hub: Hub,
    corrections: Corrections,
    clock: Clock,
) -> list[APIRouter]:
    """The API and the page."""
    guard = token_guard(settings.trends.http, "trends.http.token")
    answers = Answers(clock)
    return [
        trends_router(reader, queries, clock, answers),
        detail_router(reader, clock, answers),
        queries_router(reader, queries, clock, answers, guard),
        review_router(reader, settings, clock, answers),
        live_router(hub, queries, clock),
        corrections_router(corrections, settings.topics.labels, clock, guard),
        page_router(),
    ]
