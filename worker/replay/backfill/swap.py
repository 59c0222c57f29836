"""What is done with a backfill once it is counted: shown, swapped in and out, removed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from typing import NamedTuple

import msgspec
from kafka import errors
from kafka.admin import KafkaAdminClient
from redis import Redis

from worker.errors import ConfigurationError, DependencyError
from worker.replay.backfill.names import group_of, live_keys, topics_of
from worker.settings import Settings
from worker.topics.connect import connected as kafka_connected
from worker.trends.backfills import Backfill, Backfills
from worker.trends.keys import Keys
from worker.trends.redis_connection import connected
from worker.trends.redis_reader import RedisTrendReader
from worker.trends.windows import DAY, Window

_GONE = ("NoError", "OK", "UnknownTopicOrPartitionError", "GroupIdNotFoundError")
"""Also where an earlier `remove` that was cut short has deleted it."""


class Shown(msgspec.Struct, frozen=True):
    """A backfill as people and machines are told of it."""

    name: str
    start: str = msgspec.field(name="from")
    """First day."""
    end: str = msgspec.field(name="to")
    """The day after the last."""
    model: str
    begun_at: datetime
    complete_at: datetime | None
    swapped: bool
    n: int
    """Labels that it counts in these days."""
    live_n: int
    """Labels that are counted live in the same days."""


class Removed(NamedTuple):
    """What went with a backfill."""

    topics: list[str]
    keys: int


@contextmanager
def _opened(settings: Settings) -> Iterator[tuple[Redis, Keys, Backfills]]:
    with connected(settings.redis) as client:
        keys = live_keys(settings)
        yield client, keys, Backfills(client, keys)


def status(settings: Settings, name: str | None = None) -> list[Shown]:
    """All backfills, or the one of this name.

    Raises:
        ConfigurationError: there is none of this name.
        StoreUnavailableError: Redis cannot be reached.
    """
    with _opened(settings) as (client, keys, registry):
        found = registry.list() if name is None else [_known(registry, name)]
        swapped = set(registry.swapped())
        return [_shown(client, keys, one, swapped=one.name in swapped) for one in found]


def swap_in(settings: Settings, name: str) -> Shown:
    """Let a backfill answer for its days from now on.

    Raises:
        ConfigurationError: there is none of this name, or it is not complete, or it counts nothing.
        StoreUnavailableError: Redis cannot be reached; it may or may not have happened: say it again.
    """
    with _opened(settings) as (client, keys, registry):
        found = _known(registry, name)
        if found.complete_at is None:
            raise ConfigurationError(
                [f"{name} is not complete: `moodstream backfill run {name}` goes on where it was stopped"]
            )
        shown = _shown(client, keys, found, swapped=True)
        if not shown.n:
            raise ConfigurationError(
                [f"{name} counts no post between {shown.start} and {shown.end}: those days would be empty"]
            )
        registry.swap(found)
        return shown


def swap_out(settings: Settings, name: str) -> Shown:
    """Let its days be answered for by what was there before.

    Raises:
        ConfigurationError: it is not swapped in.
        StoreUnavailableError: Redis cannot be reached; it may or may not have happened: say it again.
    """
    with _opened(settings) as (client, keys, registry):
        found = _known(registry, name)
        if name not in registry.swapped():
            raise ConfigurationError([f"{name} is not swapped in"])
        registry.take_out(name)
        return _shown(client, keys, found, swapped=False)


def remove(settings: Settings, name: str, *, wait_s: float) -> Removed:
    """Delete a backfill's counts, topics and group. Running it again finishes what was cut short.

    Raises:
        ConfigurationError: there is none of this name, or it is swapped in.
        StoreUnavailableError: Redis cannot be reached.
        DependencyError: Kafka cannot be reached or refuses.
    """
    with _opened(settings) as (_, _, registry):
        _known(registry, name)
        if name in registry.swapped():
            raise ConfigurationError(
                [f"{name} is swapped in: `moodstream backfill swap {name} --undo` takes it out first"]
            )
        topics = [topic.name for topic in topics_of(settings, name)]
        with kafka_connected(settings.kafka, wait_s=wait_s) as admin:
            _delete(admin, topics, group_of(name))
        return Removed(topics, registry.forget(name))


def _delete(admin: KafkaAdminClient, topics: Sequence[str], group: str) -> None:
    answer = admin.delete_topics(topics, raise_errors=False)
    results = {str(one["name"]): errors.for_code(one["error_code"]).__name__ for one in answer["topics"]}
    results |= admin.delete_groups([group])
    problems = [f"{name}: {result}" for name, result in results.items() if result not in _GONE]
    if problems:
        raise DependencyError("kafka", f"not deleted: {', '.join(problems)}")


def _known(registry: Backfills, name: str) -> Backfill:
    found = registry.find(name)
    if found is None:
        others = ", ".join(one.name for one in registry.list()) or "none"
        raise ConfigurationError([f"there is no backfill {name}; there are: {others}"])
    return found


def _shown(client: Redis, keys: Keys, found: Backfill, *, swapped: bool) -> Shown:
    window = Window(found.first * DAY, found.end * DAY, DAY)
    n, live_n = (
        RedisTrendReader(client, those).read(window).n for those in (keys._replace(backfill=found.name), keys)
    )
    return Shown(found.name, *found.days, found.model, found.begun_at, found.complete_at, swapped, n, live_n)
