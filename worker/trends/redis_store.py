"""Trends in Redis 6.2 to 8 or Valkey: one atomic script a batch, and reading with pipelines."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib import resources
from itertools import islice, product
from typing import Any

from redis import Redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import RedisError, ResponseError
from redis.retry import Retry

from worker.settings import RedisSettings
from worker.trends.counting import Batch
from worker.trends.keys import Keys, field_prefix, parse_field
from worker.trends.store import Applied, Position, StoreUnavailableError, settle
from worker.trends.windows import Slot, Trend, Window, lay_out

_RETRIES = 1
"""A connection that broke since it was last used is replaced at once. Longer outages are the loop's, and so
are answers that do not come: asking again would double the wait."""
_READ_AT_ONCE = 500
"""Hashes asked for in one round trip: some MB of answers at most."""

log = logging.getLogger(__name__)


@contextmanager
def connected(settings: RedisSettings) -> Iterator[Redis]:
    """A client that connects when first used. Threads may share it."""
    more: dict[str, Any] = {}
    if settings.ssl_ca_location is not None and settings.url.startswith("rediss://"):
        more["ssl_ca_certs"] = str(settings.ssl_ca_location)
    password = settings.password
    client = Redis.from_url(
        settings.url,
        username=settings.username,
        password=None if password is None else password.get_secret_value(),
        socket_timeout=settings.timeout_s,
        socket_connect_timeout=settings.timeout_s,
        retry=Retry(
            ExponentialWithJitterBackoff(cap=0.1, base=0.01),
            _RETRIES,
            supported_errors=(RedisConnectionError,),
        ),
        **more,
    )
    try:
        yield client
    finally:
        client.close()


@contextmanager
def reaching() -> Iterator[None]:
    """Turns whatever Redis or the way to it refuses into one error."""
    try:
        yield
    except (RedisError, OSError) as error:
        raise StoreUnavailableError("redis", f"{type(error).__name__}: {error}") from error


class RedisTrendStore:
    """A `TrendStore` on Redis. Retries are safe everywhere: `apply` compares before it writes."""

    def __init__(self, client: Redis, keys: Keys, *, retention_s: int, max_sources: int) -> None:
        self._client = client
        self._keys = keys
        self._retention_s = retention_s
        self._max_sources = max_sources
        script = resources.files("worker.trends").joinpath("apply.lua").read_text(encoding="utf-8")
        self._script = client.register_script(script)
        self._eviction_checked = False

    def open(self, partitions: Iterable[int]) -> dict[int, Position | None]:
        numbers = sorted(partitions)
        with reaching():
            self._check_eviction()
            if not numbers:
                self._client.ping()
                return {}
            self._client.sadd(self._keys.partitions, *numbers)
            return self._positions(numbers)

    def apply(self, batch: Batch, expected: Position | None) -> Applied:
        with reaching():
            return settle(batch, expected, self._attempt)

    def read(self, window: Window, source: str | None = None) -> Trend:
        trend = Trend.empty(window)
        with reaching():
            numbers = sorted(int(number) for number in self._client.smembers(self._keys.partitions))
            generations = {
                number: position.generation
                for number, position in self._positions(numbers).items()
                if position is not None
            }
            self._add_all(trend, generations, source)
        return trend

    def _positions(self, partitions: Sequence[int]) -> dict[int, Position | None]:
        with self._client.pipeline(transaction=False) as pipeline:
            for number in partitions:
                pipeline.get(self._keys.offset(number))
            answers = pipeline.execute()
        return {number: position_of(text) for number, text in zip(partitions, answers, strict=True)}

    def _attempt(self, batch: Batch, expected: Position | None, wanted: Position) -> Position | None:
        partition, generation = batch.partition, wanted.generation
        keys = [self._keys.offset(partition), self._keys.sources(partition, generation)]
        sources = {source: number for number, source in enumerate(batch.sources, start=1)}
        arguments: list[str | int] = [
            "" if expected is None else str(expected),
            str(wanted),
            self._retention_s,
            self._max_sources,
            len(sources),
            *sources,
        ]
        for bucket, slots in lay_out(batch.counts).items():
            keys.append(self._keys.bucket(partition, generation, bucket))
            for slot, n in slots.items():
                arguments += (len(keys), field_prefix(slot), sources[slot.source], n)
        return position_of(self._script(keys=keys, args=arguments))

    def _add_all(self, trend: Trend, generations: dict[int, str], source: str | None) -> None:
        """Add every hash of the window, some hundred at a time, so that memory stays bounded."""
        slots: dict[bytes, Slot] = {}  # the same few thousand fields come again in every hash
        hashes = iter(product(trend.window.buckets(), generations.items()))
        while some := tuple(islice(hashes, _READ_AT_ONCE)):
            with self._client.pipeline(transaction=False) as pipeline:
                for bucket, (number, generation) in some:
                    pipeline.hgetall(self._keys.bucket(number, generation, bucket))
                answers = pipeline.execute()
            for (bucket, _), answer in zip(some, answers, strict=True):
                trend.add(bucket, _slots(answer, slots), source)

    def _check_eviction(self) -> None:
        """Say once where Redis may throw counts away to make room: exact it is then not."""
        if self._eviction_checked:
            return
        try:
            memory = self._client.info("memory")
        except ResponseError:  # this user may not ask
            memory = {}
        self._eviction_checked = True
        policy = memory.get("maxmemory_policy", "noeviction")
        if memory.get("maxmemory") and policy != "noeviction":
            log.warning(
                "redis: maxmemory-policy is %s, so counts may be evicted; set it to noeviction", policy
            )


def position_of(stored: bytes | str | None) -> Position | None:
    """The position that an offset's key holds; `None` where there is none.

    Raises:
        StoreUnavailableError: the key holds something else.
    """
    if not stored:
        return None
    text = stored.decode(errors="replace") if isinstance(stored, bytes) else stored
    try:
        return Position.parse(text)
    except ValueError:
        raise StoreUnavailableError(
            "redis", f"{text[:64]!r} is not an offset of ours: is the namespace somebody else's?"
        ) from None


def _slots(answer: dict[bytes, bytes], known: dict[bytes, Slot]) -> Iterator[tuple[Slot, int]]:
    for name, n in answer.items():
        slot = known.get(name)
        if slot is None:
            slot = known[name] = parse_field(name)
        yield slot, int(n)
