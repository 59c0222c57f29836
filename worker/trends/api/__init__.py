"""The JSON API of trends, a file per job; /openapi.json describes it."""

from worker.trends.api.answers import Answers
from worker.trends.api.ask import parse_step, parse_time, window_of
from worker.trends.api.corrections import corrections_router
from worker.trends.api.detail import detail_router
from worker.trends.api.live import live_router
from worker.trends.api.queries import queries_router
from worker.trends.api.review import review_router
from worker.trends.api.trends import trends_router
from worker.web.problems import BadQueryError

__all__ = [
    "Answers",
    "BadQueryError",
    "corrections_router",
    "detail_router",
    "live_router",
    "parse_step",
    "parse_time",
    "queries_router",
    "review_router",
    "trends_router",
    "window_of",
]
