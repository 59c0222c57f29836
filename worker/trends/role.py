"""The trends role: the loop from the labels topic into Redis, with the API beside it.

Start: Redis client (connects when first used), HTTP server, consumer. No Redis, Kafka or schema registry
that is away stops it: /readyz says so, and the loop waits. End, within `trends.drain_s` after `stop`: the
loop ends its turn, and what a turn has taken it has also counted; the alerts give back their lease and the
consumer leaves its group, so that another instance takes over at once; who watches the live feed is sent
away; the server ends the requests under way; the Redis client closes.
"""

from __future__ import annotations

import threading
from contextlib import ExitStack

from fastapi import APIRouter
from redis import Redis

from worker.clock import Clock
from worker.dependency import Dependency
from worker.formats.opened import Formats
from worker.metrics import Metrics
from worker.process import few_garbage_collections
from worker.settings import Settings, TrendsSettings
from worker.tracing.opened import opened
from worker.trends.alerts.assemble import assemble
from worker.trends.corrections import KafkaCorrections
from worker.trends.count_traces import traces_by
from worker.trends.counting import CountedLabel
from worker.trends.keys import Keys
from worker.trends.live.feed import Follower, RedisLiveFeed, Sampler
from worker.trends.live.hub import Hub
from worker.trends.loop import TrendsLoop
from worker.trends.redis_connection import connected
from worker.trends.redis_queries import RedisQueryStore
from worker.trends.redis_store import RedisTrendStore
from worker.trends.routes import routers
from worker.trends.source import KafkaLabelSource
from worker.trends.store import Limits
from worker.trends.swapped_reader import SwappedTrendReader
from worker.trends.watch import QueryWatch, read_queries, reading_of
from worker.trends.windows import DAY, HOUR
from worker.web.health import Health
from worker.web.server import serve


def run(settings: Settings, metrics: Metrics, clock: Clock, stop: threading.Event) -> None:
    """Count labels and serve the counts until `stop` is set.

    Raises:
        ConfigurationError: the HTTP address, the file of queries or a setting of the traces cannot be used.
        DependencyError: Kafka, Redis or the schema registry refuses us for good.
        ServerDiedError: the HTTP server ended by itself; `stop` is then set too.
        AlertsDiedError: the thread that looks for spikes ended by itself; likewise.
    """
    trends, topic = settings.trends, settings.topics.labels
    of_file = read_queries(trends.queries_file, trends.max_queries) if trends.queries_file else []
    health = Health(clock, trends.stall_s, ("assignment", "kafka", "redis"))
    with ExitStack() as closing:
        tracer = closing.enter_context(
            opened(settings.tracing, role="trends", instance=None, metrics=metrics, drain_s=trends.drain_s)
        )
        client, keys = closing.enter_context(connected(settings.redis)), Keys(trends.namespace, topic)
        queries = RedisQueryStore(client, keys, clock, trends.max_queries)
        store = RedisTrendStore(client, keys, limits_of(trends), clock, queries)
        alerting = assemble(settings, client, store, queries.list, metrics=metrics, clock=clock)
        hub = Hub(clock)
        corrections = KafkaCorrections(settings.kafka, settings.topics.corrections, clock)
        closing.callback(corrections.close)
        pages = _pages(settings, client, queries, hub=hub, corrections=corrections, clock=clock)
        closing.enter_context(
            serve(
                trends.http,
                metrics,
                health,
                on_death=stop.set,
                title="moodstream trends",
                routers=[*pages, alerting.router],
                clock=clock,
            )
        )
        follower = Follower(client, keys.live, hub, clock, on_death=stop.set)
        follower.start()
        closing.callback(follower.close)
        kafka = Dependency("kafka", clock, metrics, health)
        source = KafkaLabelSource(settings.kafka, trends, topic, dependency=kafka, metrics=metrics)
        closing.callback(source.close, trends.drain_s / 3)
        formats = Formats(settings, clock=clock, metrics=metrics, health=health)
        loop = TrendsLoop(
            source,
            store,
            feed=RedisLiveFeed(client, keys.live, Sampler(topic, clock, text=trends.live_text == "on")),
            topic=topic,
            max_records=trends.max_records,
            redis=Dependency("redis", clock, metrics, health),
            clock=clock,
            metrics=metrics,
            health=health,
            watch=QueryWatch(queries, reading_of(trends, settings.review), clock, metrics, of_file),
            counted=alerting.counted,
            traces=traces_by(tracer, topic, trends.group_id, clock),
            read=formats.labels(CountedLabel),
            ready=formats.ready,
        )
        closing.enter_context(alerting.looking(stop.set))
        closing.enter_context(few_garbage_collections())
        loop.run(stop)


def _pages(
    settings: Settings,
    client: Redis,
    queries: RedisQueryStore,
    *,
    hub: Hub,
    corrections: KafkaCorrections,
    clock: Clock,
) -> list[APIRouter]:
    """What is answered: from what is swapped in where something is, else from what is counted live."""
    keys = Keys(settings.trends.namespace, settings.topics.labels)
    reader = SwappedTrendReader(client, keys, clock, queries)
    return routers(settings, reader=reader, queries=queries, hub=hub, corrections=corrections, clock=clock)


def limits_of(trends: TrendsSettings) -> Limits:
    """What the settings say is kept."""
    return Limits(
        retention_s=trends.retention_hours * HOUR,
        hourly_s=trends.hourly_days * DAY,
        daily_s=trends.daily_days * DAY,
        details_s=trends.details_hours * HOUR,
        daily_details_s=trends.details_days * DAY,
        max_sources=trends.max_sources,
        max_langs=trends.max_langs,
        max_terms=trends.max_terms,
        shapes_s=(trends.alerts.weeks * 7 + 2) * DAY if trends.alerts.detect == "on" else 0,
        samples=trends.samples,
        store_text=trends.store_text == "on",
    )
