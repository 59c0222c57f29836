"""Schemas by their ids: fetched once, kept while they are used, and turned into what reads their messages."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec

from worker import metrics as m
from worker.clock import Clock
from worker.dependency import Dependency
from worker.errors import BadRecordError
from worker.formats import avro, protobuf
from worker.formats.frame import schema_id
from worker.formats.problems import UnusableSchemaError
from worker.formats.registry import (
    NotThereError,
    Reference,
    Registry,
    RegistryAwayError,
    RejectedError,
    Stored,
)
from worker.metrics import Metrics
from worker.settings import Format

T = TypeVar("T", bound=msgspec.Struct)
Read = Callable[[bytes], T]
"""From a framed value to a message. Raises BadRecordError."""

_ASK_AGAIN_S = 30.0
"""After this time an id that was unknown or unusable is asked for once more: it may be registered by then."""
_SOON_S = 30.0
"""So long after that a reader asks by itself; who resolves before reading has asked by then."""
_FOR_GOOD = float("inf")
_MOST_REFERENCES = 64
_TYPES = {"avro": "AVRO", "protobuf": "PROTOBUF"}


class _Entry(NamedTuple, Generic[T]):
    read: Read[T]
    until: float
    """Monotonic time."""


class Schemas(Generic[T]):
    """What reads framed messages of one format as one type. Belongs to one thread.

    An outage is asked about no more often than the dependency says: in between, what is not known raises
    `RegistryAwayError` at once.
    """

    def __init__(
        self,
        registry: Registry,
        wanted: Format,
        kind: type[T],
        *,
        most: int,
        dependency: Dependency,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`most`: schemas that are kept."""
        self._registry = registry
        self._wanted = wanted
        self._kind = kind
        self._most = most
        self._dependency = dependency
        self._clock = clock
        self._fetched = metrics.counter(m.SCHEMAS)
        self._known: OrderedDict[int, _Entry[T]] = OrderedDict()

    def __call__(self, value: bytes) -> T:
        """The message in a framed value.

        Raises:
            BadRecordError: `not_framed`, `unknown_schema`, `unusable_schema`, or what the reader says.
            RegistryAwayError: its schema is not known here, and the registry is away.
            DependencyError: the registry refuses us.
        """
        number = schema_id(value)
        entry = self._known.get(number)
        if entry is None or (entry.until != _FOR_GOOD and self._clock.monotonic() >= entry.until + _SOON_S):
            entry = self._ask(number)
        return entry.read(value)

    def resolve(self, number: int) -> None:
        """See that messages of this schema can be read, or that they cannot, with no further question.

        That holds for the `most` schemas that were last resolved.

        Raises:
            RegistryAwayError: it is not known here, and the registry is away.
            DependencyError: the registry refuses us.
        """
        entry = self._known.get(number)
        if entry is None or self._clock.monotonic() >= entry.until:
            self._ask(number)
        self._known.move_to_end(number)

    def _ask(self, number: int) -> _Entry[T]:
        if not self._dependency.due:
            raise RegistryAwayError("the schema registry is away")
        until = _FOR_GOOD
        try:
            read, outcome = self._reader(self._registry.schema(number), number), "usable"
        except NotThereError:
            problem = ("unknown_schema", f"the registry has no schema {number}")
            read, until, outcome = _bad(*problem), self._clock.monotonic() + _ASK_AGAIN_S, "unknown"
        except (UnusableSchemaError, RejectedError) as error:
            problem = ("unusable_schema", f"schema {number} of the registry: {error}")
            read, until, outcome = _bad(*problem), self._clock.monotonic() + _ASK_AGAIN_S, "unusable"
        except RegistryAwayError as error:
            self._dependency.failed(str(error))
            raise
        self._dependency.works()
        self._fetched.labels(outcome).inc()
        self._known[number] = entry = _Entry(read, until)
        if len(self._known) > self._most:
            self._known.popitem(last=False)
        return entry

    def _reader(self, stored: Stored, number: int) -> Read[T]:
        if stored.type != _TYPES[self._wanted]:
            raise UnusableSchemaError(
                f"it is of type {stored.type}, and the topic's format is {self._wanted}"
            )
        if self._wanted == "avro":
            references = [one.schema for _, one in self._references(stored.references)]
            return avro.reader(stored.schema, references, self._kind)
        schema = stored.schema
        if not protobuf.is_serialized(schema):
            schema = self._registry.schema(number, serialized=True).schema
        files = {
            one.name: found.schema
            if protobuf.is_serialized(found.schema)
            else self._registry.version(one.subject, one.version, serialized=True).schema
            for one, found in self._references(stored.references)
        }
        return protobuf.reader(schema, files, self._kind)

    def _references(
        self, references: list[Reference], seen: set[str] | None = None
    ) -> Iterator[tuple[Reference, Stored]]:
        """What a schema takes from others, each behind all that it takes itself, and once."""
        seen = set() if seen is None else seen
        for one in references:
            if one.name in seen:
                continue
            if len(seen) >= _MOST_REFERENCES:
                raise UnusableSchemaError(f"it needs more than {_MOST_REFERENCES} other schemas")
            seen.add(one.name)
            try:
                stored = self._registry.version(one.subject, one.version)
            except NotThereError as error:
                raise UnusableSchemaError(f"{one.name}, which it needs, is not in the registry") from error
            yield from self._references(stored.references, seen)
            yield one, stored


def _bad(kind: str, reason: str) -> Callable[[bytes], Any]:
    def read(_: bytes) -> Any:
        raise BadRecordError(kind, reason)

    return read
