"""How long the trends API takes to answer, from a real Redis that holds two weeks of labels.

The Redis is filled by the role's own functions and store, without a Kafka. It is asked over HTTP by one
client, one question after the other. No question is asked twice within the time for which answers are
remembered, so that each goes to Redis.
"""

from __future__ import annotations

import http.client
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any
from urllib.parse import urlencode

import msgspec
import numpy as np
from rich.console import Console
from rich.progress import track

from worker.bench import labels as made
from worker.clock import SystemClock
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.settings import HttpSettings, RedisSettings, Settings
from worker.trends.api.answers import KEPT_S
from worker.trends.counting import Reading, aggregate, decode
from worker.trends.keys import Keys
from worker.trends.live.hub import Hub
from worker.trends.matcher import Matcher
from worker.trends.queries import Query, QueryStore
from worker.trends.redis_connection import connected
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.redis_store import RedisTrendStore
from worker.trends.routes import routers
from worker.trends.store import Limits
from worker.trends.windows import DAY, HOUR
from worker.types import LABELS, Correction, Record
from worker.web.health import Health
from worker.web.server import serve

WEEK = 7 * DAY
_AT_ONCE = 10_000
_PARTITIONS = 12
_PATIENT_S = 60.0
"""For Redis to take a batch that is spread over two weeks, while it is filled."""
_SOURCES = sorted(set(made.SOURCES))

Question = tuple[str, dict[str, str]]


class Took(msgspec.Struct, frozen=True):
    """How long one kind of question took, in ms."""

    n: int
    p50_ms: float
    p99_ms: float
    worst_ms: float


class Found(msgspec.Struct, frozen=True):
    """The result of a run."""

    labels: int
    queries: int
    questions: dict[str, Took]


class _NoCorrections:
    """Nobody corrects anything here."""

    def send(self, correction: Correction) -> Any:
        raise NotImplementedError


def run(texts: Sequence[str], *, labels: int, queries: int, asked: int) -> Found:
    """Fill a Redis of our own and ask; `asked`: how often each kind of question.

    Raises:
        DependencyError: there is no Redis.
    """
    clock, now = SystemClock(), int(time.time()) // HOUR * HOUR
    with ExitStack() as closing:
        redis = closing.enter_context(RealRedis())
        client = closing.enter_context(connected(RedisSettings(url=redis.url, timeout_s=_PATIENT_S)))
        keys = Keys("bench", "emotion-labels")
        tracked = RedisQueryStore(client, keys, clock, max(1, queries))
        store = RedisTrendStore(client, keys, Limits(store_text=True), clock, tracked)
        for name, expression in made.queries(texts, queries).items():
            tracked.put(Query(name, expression))
        _fill(store, tracked, texts, labels, now)
        served = routers(
            Settings(),
            reader=store,
            queries=tracked,
            hub=Hub(clock),
            corrections=_NoCorrections(),
            clock=clock,
        )
        http_settings, health = HttpSettings(requests_per_s=0), Health(clock, 60, ())
        server = closing.enter_context(
            serve(http_settings, Metrics(), health, on_death=lambda: None, routers=served, clock=clock)
        )
        known = [query.name for query in tracked.list()]
        questions = _questions(now, known)
        took = {name: _asked(server.url, make, asked) for name, make in questions.items()}
    return Found(labels, len(known), took)


def _fill(store: RedisTrendStore, tracked: QueryStore, texts: Sequence[str], labels: int, now: int) -> None:
    """Labels of the last two weeks, in the order of their time."""
    reading = Reading(queries=Matcher({query.id: query.expression for query in tracked.list()}))
    offsets = dict.fromkeys(range(_PARTITIONS), 0)
    positions = store.open(offsets)
    rows = made.labels(texts, labels, start=now - 2 * WEEK, end=now)
    steps = range(0, labels, _AT_ONCE)
    for start in track(steps, console=Console(stderr=True), description="filling Redis", transient=True):
        part = start // _AT_ONCE % _PARTITIONS
        first = offsets[part]
        records = [
            Record("emotion-labels", part, first + number, key, value, 0)
            for number, (key, value) in enumerate(itertools.islice(rows, _AT_ONCE))
        ]
        offsets[part] += len(records)
        batch = aggregate(part, first, offsets[part], decode(records, reading).events)
        positions[part] = store.apply(batch, positions[part]).position


def _questions(now: int, queries: Sequence[str]) -> dict[str, Callable[[int], Question]]:
    """Per kind, the question of a number; numbers after each other ask for different spans."""

    def span(length: int, number: int) -> dict[str, str]:
        end = now - number % (WEEK // HOUR) * HOUR
        return {"from": str(end - length), "to": str(end)}

    def trends(number: int, **more: str) -> Question:
        return "/api/trends", {**span(WEEK, number), "step": "1h", **more}

    kinds: dict[str, Callable[[int], Question]] = {
        "a week by the hour": trends,
        "a week by the hour, and the week before": lambda n: trends(n, compare="previous"),
        "a week by the hour, of one source": lambda n: trends(n, source=_SOURCES[n % len(_SOURCES)]),
        "a week by the hour, as CSV": lambda n: trends(n, format="csv"),
        "an hour by the minute": lambda n: ("/api/trends", {**span(HOUR, n), "step": "1m"}),
        "top terms of a day": lambda n: ("/api/terms", {**span(DAY, n), "emotion": LABELS[n % len(LABELS)]}),
        "samples of a day": lambda n: ("/api/samples", {**span(DAY, n), "limit": "50"}),
        "share of voice of a week": lambda n: ("/api/voice", span(WEEK, n)),
    }
    if queries:
        kinds["a week by the hour, of one tracked query"] = lambda n: trends(
            n, query=queries[n % len(queries)]
        )
    return kinds


def _asked(url: str, make: Callable[[int], Question], times: int) -> Took:
    connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)
    took: list[float] = []
    for path, parameters in itertools.islice(_fresh(make), times):
        begin = time.perf_counter()
        connection.request("GET", f"{path}?{urlencode(parameters)}")
        answer = connection.getresponse()
        body = answer.read()
        took.append(1000 * (time.perf_counter() - begin))
        if answer.status != http.client.OK:
            raise RuntimeError(json.loads(body)["error"])
    connection.close()
    p50, p99 = np.percentile(took, [50, 99])
    return Took(len(took), round(float(p50), 2), round(float(p99), 2), round(max(took), 2))


def _fresh(make: Callable[[int], Question]) -> Iterator[Question]:
    """Questions whose answers are not remembered any more."""
    asked_at: dict[tuple[Any, ...], float] = {}
    for number in itertools.count():
        path, parameters = make(number)
        key = (path, *sorted(parameters.items()))
        if key in asked_at:
            time.sleep(max(0.0, asked_at[key] + KEPT_S + 0.01 - time.monotonic()))
        asked_at[key] = time.monotonic()
        yield path, parameters
