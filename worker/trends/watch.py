"""What of a label is looked at: the settings, and the tracked queries of now."""

from __future__ import annotations

import json
import logging
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Any

from worker import metrics as m
from worker.clock import Clock
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.settings import ReviewSettings, TrendsSettings
from worker.trends.counting import Reading
from worker.trends.matcher import Matcher
from worker.trends.queries import (
    WIDEST,
    BadQueryNameError,
    Query,
    QueryStore,
    QuerySyntaxError,
    TooManyQueriesError,
    check_name,
    parse,
)

_LOOK_EVERY_S = 1.0
"""How soon a query that was set through the API, by whatever instance, is counted."""

log = logging.getLogger(__name__)


def reading_of(trends: TrendsSettings, review: ReviewSettings) -> Reading:
    """What the settings say is looked at."""
    return Reading(
        terms=trends.terms == "on",
        late_s=trends.late_hours * 3600.0,
        early_s=trends.early_hours * 3600.0,
        review=review.slices if trends.samples else None,
    )


def read_queries(path: Path, most: int) -> list[Query]:
    """The queries of a TOML or JSON file.

    Raises:
        ConfigurationError: it cannot be read or holds something else; every problem is listed.
    """
    try:
        text = path.read_text(encoding="utf-8")
        found: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except (OSError, UnicodeDecodeError, json.JSONDecodeError, tomllib.TOMLDecodeError) as error:
        raise ConfigurationError([f"trends.queries_file {path}: {error}"]) from None
    queries = found.get("queries") if isinstance(found, dict) else None
    if not isinstance(queries, dict):
        raise ConfigurationError([f"trends.queries_file {path}: needs a table `queries`: name = expression"])
    problems = [
        f"trends.queries_file {path}: {name!r}: {problem}"
        for name, expression in queries.items()
        if (problem := _problem(name, expression)) is not None
    ]
    if len(queries) > most:
        problems.append(
            f"trends.queries_file {path}: {len(queries)} queries; trends.max_queries allows {most}"
        )
    if problems:
        raise ConfigurationError(problems)
    return [Query(name, expression, origin="file") for name, expression in queries.items()]


def _problem(name: str, expression: object) -> str | None:
    if not isinstance(expression, str):
        return "its expression must be a string"
    try:
        check_name(name)
        parse(expression)
    except (BadQueryNameError, QuerySyntaxError) as error:
        return str(error)
    return None


class QueryWatch:
    """Keeps what is looked at up to date. Belongs to the loop's thread."""

    def __init__(
        self,
        store: QueryStore,
        reading: Reading,
        clock: Clock,
        metrics: Metrics,
        of_file: list[Query] | None = None,
    ) -> None:
        """`of_file`: the queries of the file, made those of the store; None: the store is only looked at."""
        self._store = store
        self.reading = reading
        self._clock = clock
        self._tracked = metrics.gauge(m.TRENDS_QUERIES)
        self._of_file = of_file
        self._in_store = of_file is None
        self._version = -1
        self._looked_at = -math.inf

    def refresh(self) -> None:
        """Look whether queries were changed, at most once a second.

        Raises:
            StoreUnavailableError: that cannot be known now.
        """
        now = self._clock.monotonic()
        if now - self._looked_at < _LOOK_EVERY_S:
            return
        version = self._store.version()
        wiped = not 0 <= version - self._version < WIDEST
        if self._of_file is not None and (wiped or not self._in_store):
            self._put_file(self._of_file)
            version = self._store.version()
        if version != self._version:
            self._match(self._store.list())
            self._version = version
        self._looked_at = now

    def _put_file(self, of_file: list[Query]) -> None:
        """Make the queries of the file those of the store."""
        names = {query.name for query in of_file}
        for query in self._store.list():
            if query.origin == "file" and query.name not in names:
                self._store.remove(query.name, "file")
        for query in of_file:
            try:
                self._store.put(query)
            except TooManyQueriesError as error:
                log.error("query %r of the file is not tracked: %s", query.name, error)
        self._in_store = True

    def _match(self, queries: list[Query]) -> None:
        expressions: dict[str, str] = {}
        for query in queries:
            try:
                parse(query.expression)
            except QuerySyntaxError as error:  # of a later release, perhaps
                log.error("query %r is not tracked: %s", query.name, error)
            else:
                expressions[query.id] = query.expression
        self.reading = replace(self.reading, queries=Matcher(expressions) if expressions else None)
        self._tracked.set(len(expressions))
        log.info("tracked queries: %d", len(expressions))
