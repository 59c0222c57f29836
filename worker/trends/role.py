"""The trends role: the loop from the labels topic into Redis, with the API beside it.

Start: Redis client (connects when first used), HTTP server, consumer. Neither a Redis nor a Kafka that is
away stops it: /readyz says so, and the loop waits. End, within `trends.drain_s` after `stop`: the loop ends
its turn, and what a turn has taken it has also counted; the consumer leaves its group, so that another
instance takes over at once; the server ends the requests under way; the Redis client closes.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack

from worker.clock import Clock
from worker.dependency import Dependency
from worker.metrics import Metrics
from worker.settings import Settings
from worker.trends.api import trends_router
from worker.trends.keys import Keys
from worker.trends.loop import TrendsLoop
from worker.trends.redis_store import RedisTrendStore, connected
from worker.trends.source import KafkaLabelSource
from worker.web.health import Health
from worker.web.server import serve


def run(settings: Settings, metrics: Metrics, clock: Clock, stop: threading.Event) -> None:
    """Count labels and serve the counts until `stop` is set.

    Raises:
        ConfigurationError: the HTTP address cannot be used.
        DependencyError: Kafka refuses us for good.
        ServerDiedError: the HTTP server ended by itself; `stop` is then set too.
    """
    trends, topic = settings.trends, settings.topics.labels
    health = Health(clock, trends.stall_s, ("assignment", "kafka", "redis"))
    with ExitStack() as closing:
        store = RedisTrendStore(
            closing.enter_context(connected(settings.redis)),
            Keys(trends.namespace, topic),
            retention_s=trends.retention_hours * 3600,
            max_sources=trends.max_sources,
        )
        closing.enter_context(
            serve(
                trends.http,
                metrics,
                health,
                on_death=stop.set,
                title="moodstream trends",
                routers=[trends_router(store, clock)],
                clock=clock,
            )
        )
        source = KafkaLabelSource(
            settings.kafka,
            trends,
            topic,
            dependency=Dependency("kafka", clock, metrics, health),
            metrics=metrics,
        )
        closing.callback(source.close, trends.drain_s / 3)
        loop = TrendsLoop(
            source,
            store,
            topic=topic,
            max_records=trends.max_records,
            redis=Dependency("redis", clock, metrics, health),
            clock=clock,
            metrics=metrics,
            health=health,
        )
        loop.run(stop)
