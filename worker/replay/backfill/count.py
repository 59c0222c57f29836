"""The second half of a backfill: the loop of the trends role, from its labels into keys of its own."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from redis import Redis

from worker.clock import Clock
from worker.dependency import Dependency
from worker.errors import DependencyError
from worker.metrics import Metrics
from worker.process import few_garbage_collections
from worker.replay.backfill.label import Progress
from worker.replay.backfill.names import group_of
from worker.settings import Settings
from worker.topics.log_reader import LogReader
from worker.trends.counting import Batch, Reading, ReadLabel, in_json
from worker.trends.keys import Keys
from worker.trends.loop import TrendsLoop
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.redis_store import RedisTrendStore
from worker.trends.role import limits_of
from worker.trends.source import KafkaLabelSource
from worker.trends.watch import QueryWatch, reading_of
from worker.web.health import Health

_CLOSE_S = 5.0
_ANY_TIME = float("inf")


def count(
    settings: Settings,
    client: Redis,
    keys: Keys,
    *,
    wait_s: float,
    clock: Clock,
    stopped: Callable[[], bool],
    progress: Progress,
    read: ReadLabel = in_json,
) -> int:
    """Count a backfill's labels up to the end of its topic, or until `stopped`; answers how many.

    Exactly once, as live: the offset is moved together with the counts. How labels are spread is not counted,
    because drift looks only at what is labelled live, and none is kept for review, because corrections are of
    live labels. No label is late, because all of the past are labelled now. `read`: what labels are written
    in; JSON where not given.

    Raises:
        DependencyError: Kafka or Redis refused, or nothing has moved for `wait_s` seconds.
    """
    trends = settings.trends.model_copy(update={"group_id": group_of(keys.backfill)})
    with LogReader(settings.kafka, keys.labels, trends.group_id, wait_s=wait_s, clock=clock) as log:
        ends = {partition: span.end for partition, span in log.spans().items()}
    metrics, health, counted = Metrics(), Health(clock, wait_s, ()), _Counted()
    source = KafkaLabelSource(
        settings.kafka,
        trends,
        keys.labels,
        dependency=Dependency("kafka", clock, metrics, health),
        metrics=metrics,
        partitions=ends,
    )
    queries = RedisQueryStore(client, keys, clock, trends.max_queries)
    loop = TrendsLoop(
        source,
        RedisTrendStore(client, keys, replace(limits_of(trends), shapes_s=0), clock, queries),
        feed=counted,
        topic=keys.labels,
        max_records=trends.max_records,
        redis=Dependency("redis", clock, metrics, health),
        clock=clock,
        metrics=metrics,
        health=health,
        watch=QueryWatch(queries, _reading(settings), clock, metrics),
        read=read,
    )
    patience = _Patience(wait_s, clock, health)
    try:
        with few_garbage_collections():
            while not stopped():
                loop.run_once()
                done = sum(min(loop.reached.get(one, 0), end) for one, end in ends.items())
                progress(done, sum(ends.values()))
                if all(loop.reached.get(one, -1) >= end for one, end in ends.items()):
                    break
                patience.check(done)
            loop.settle()
    finally:
        source.close(_CLOSE_S)
    return counted.n


def _reading(settings: Settings) -> Reading:
    """What is looked at of a label: no time is too late or too early, and nothing is kept for review."""
    live = reading_of(settings.trends, settings.review)
    return replace(live, late_s=_ANY_TIME, early_s=_ANY_TIME, review=None)


class _Counted:
    """A `LiveFeed` that tells nobody: these posts are not live."""

    def __init__(self) -> None:
        self.n = 0

    def counted(self, batch: Batch) -> None:
        self.n += len(batch.events)

    def flush(self) -> None:
        """Nobody listens."""


class _Patience:
    """The loop waits for a server that is away for as long as it takes; a command does not."""

    def __init__(self, wait_s: float, clock: Clock, health: Health) -> None:
        self._wait_s = wait_s
        self._clock = clock
        self._health = health
        self._done = -1
        self._since = clock.monotonic()

    def check(self, done: int) -> None:
        """Raise DependencyError where nothing has moved for too long."""
        now = self._clock.monotonic()
        if done != self._done:
            self._done, self._since = done, now
        elif now - self._since > self._wait_s:
            conditions = self._health.conditions()
            away = [name for name in ("redis", "kafka") if not conditions.get(name, True)]
            raise DependencyError(
                " and ".join(away) or "kafka", f"nothing was counted for {self._wait_s:g} s; run it again"
            )
