"""Tracked queries: what is counted by name besides emotions, sources and languages.

A query is counted from when it is set. Set anew with another expression it is another query: its counts begin
again, and those of the old expression are no longer looked at.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Literal, Protocol

import msgspec

from worker.clock import Clock
from worker.errors import MoodstreamError
from worker.trends.matcher import Matcher
from worker.trends.query_syntax import QuerySyntaxError, parse

__all__ = [
    "BadQueryNameError", "FixedQueryError", "Matcher", "MemoryQueryStore", "Query", "QueryStore",
    "QuerySyntaxError", "TooManyQueriesError", "UnknownQueryError", "parse",
]  # fmt: skip

LONGEST_NAME = 64
WIDEST = 2**20
"""Versions of one store that are further apart than this: it was wiped in between."""

Origin = Literal["api", "file"]


class BadQueryNameError(MoodstreamError):
    """A name that no query can have; the message says what would be accepted."""


class TooManyQueriesError(MoodstreamError):
    """As many queries are tracked as `trends.max_queries` allows."""


class FixedQueryError(MoodstreamError):
    """The query stands in `trends.queries_file`, and is changed there."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"query {name!r} is set in trends.queries_file: change it there")


class UnknownQueryError(MoodstreamError):
    """No query of this name is tracked."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"no query called {name!r} is tracked")


class Query(msgspec.Struct, frozen=True, omit_defaults=True):
    """One tracked query."""

    name: str
    expression: str
    id: str = ""
    """Under which it is counted; given by the store."""
    since: datetime | None = None
    """From when on it is counted; given by the store."""
    origin: Origin = "api"
    """`file`: from `trends.queries_file`, and changed only there."""


class QueryStore(Protocol):
    """Where queries are kept. Every method raises StoreUnavailableError. Threads may share it."""

    def version(self) -> int:
        """A number that is one more after every change; cheap to ask for.

        After the store was wiped it is less, or more by at least `WIDEST`.
        """
        ...

    def list(self) -> list[Query]:
        """All queries, by name."""
        ...

    def put(self, query: Query) -> Query:
        """Track a query, or change the one of this name; answers it with its id and since when it is counted.

        The same expression again changes nothing.

        Raises:
            BadQueryNameError: it cannot be called so.
            QuerySyntaxError: the expression says nothing.
            FixedQueryError: it is one of the file's, and this one is not.
            TooManyQueriesError: there are as many as allowed.
        """
        ...

    def remove(self, name: str, origin: Origin = "api") -> bool:
        """Track it no longer; false where it was not tracked. Its counts expire with their buckets.

        Raises:
            FixedQueryError: it is one of the file's, and `origin` is not.
        """
        ...

    def find(self, name: str) -> Query:
        """The query of this name.

        Raises:
            UnknownQueryError: there is none.
        """
        ...


def check_name(name: str) -> None:
    """Raises BadQueryNameError where no query can be called so."""
    if not 0 < len(name) <= LONGEST_NAME or not name.isprintable() or name != name.strip():
        raise BadQueryNameError(
            f"a query's name has 1 to {LONGEST_NAME} printable characters and no spaces around it"
        )


def kept(old: Query | None, new: Query) -> Query | None:
    """The old query where setting the new one changes nothing, else `None`.

    Raises:
        FixedQueryError: the old one is the file's, and the new one is not.
    """
    if old is None or (old.expression, old.origin) == (new.expression, new.origin):
        return old
    if (old.origin, new.origin) == ("file", "api"):
        raise FixedQueryError(new.name)
    return None


def checked(query: Query, now: float) -> Query:
    """A query that may be stored: with its id, and counted from `now` (epoch seconds) on.

    Raises:
        BadQueryNameError: it cannot be called so.
        QuerySyntaxError: the expression says nothing.
    """
    check_name(query.name)
    parse(query.expression)
    since = datetime.fromtimestamp(now, UTC)
    what = msgspec.json.encode((query.name, query.expression, since))
    return msgspec.structs.replace(query, id=hashlib.sha256(what).hexdigest()[:10], since=since)


class MemoryQueryStore:
    """A `QueryStore` that lives as long as its process."""

    def __init__(self, clock: Clock, max_queries: int = 1000, queries: Iterable[Query] = ()) -> None:
        self._clock = clock
        self._max_queries = max_queries
        self._queries: dict[str, Query] = {}
        self._version = 0
        self._lock = threading.Lock()
        for query in queries:
            self.put(query)

    def version(self) -> int:
        return self._version

    def list(self) -> list[Query]:
        with self._lock:
            return sorted(self._queries.values(), key=lambda query: query.name)

    def put(self, query: Query) -> Query:
        new = checked(query, self._clock.time())
        with self._lock:
            old = self._queries.get(new.name)
            same = kept(old, new)
            if same is not None:
                return same
            if old is None and len(self._queries) >= self._max_queries:
                raise TooManyQueriesError(f"{self._max_queries} queries are tracked: remove one first")
            self._queries[new.name] = new
            self._version += 1
        return new

    def remove(self, name: str, origin: Origin = "api") -> bool:
        with self._lock:
            query = self._queries.get(name)
            if query is not None and (query.origin, origin) == ("file", "api"):
                raise FixedQueryError(name)
            found = self._queries.pop(name, None)
            self._version += found is not None
        return found is not None

    def find(self, name: str) -> Query:
        with self._lock:
            query = self._queries.get(name)
        if query is None:
            raise UnknownQueryError(name)
        return query
