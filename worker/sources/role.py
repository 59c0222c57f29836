"""A source that runs for ever, with its health and metrics served beside it."""

from __future__ import annotations

from contextlib import ExitStack
from typing import NamedTuple

from worker import metrics as m
from worker.clock import Clock
from worker.dependency import Dependency
from worker.metrics import Metrics
from worker.process import Stop
from worker.settings import Settings
from worker.sources.bluesky import BlueskyFeed
from worker.sources.edges import Feed, Item
from worker.sources.forward import Forward, Sent
from worker.sources.outlet import Outlet
from worker.sources.timing import Timing
from worker.web.health import Health
from worker.web.server import serve

_PATIENCE_S = 10 * 365 * 86_400.0
"""Kafka is waited for as long as it takes."""


class Wanted(NamedTuple):
    """What is asked for."""

    topic: str
    langs: tuple[str, ...]
    server: str
    name: str


def run(settings: Settings, metrics: Metrics, clock: Clock, stop: Stop, *, wanted: Wanted) -> None:
    """Write what Bluesky says until `stop` is set.

    Raises:
        ConfigurationError: there is no such topic, or an address cannot be used.
        DependencyError: Kafka or Bluesky refuses us.
        DataLossAvertedError: another process of this source has taken over.
    """
    source = settings.source
    health = Health(clock, source.stall_s, ("kafka", "bluesky"))
    bluesky = Dependency("bluesky", clock, metrics, health)

    def told(up: bool, why: str) -> None:
        if up:
            bluesky.works()
        else:
            bluesky.failed(why)

    def go_on() -> bool:
        health.beat()  # waiting for Kafka is no reason to be restarted
        return not stop.overdue(source.drain_s)

    with ExitStack() as closing:
        closing.enter_context(serve(source.http, metrics, health, on_death=stop.set, clock=clock))
        feed = BlueskyFeed(clock, stop, server=wanted.server, langs=wanted.langs, name=wanted.name, told=told)
        outlet = Outlet(
            settings, wanted.topic, feed.name, wait_s=_PATIENCE_S, clock=clock, metrics=metrics, go_on=go_on
        )
        closing.callback(outlet.close)
        cursor = outlet.open()
        health.set("kafka", True)
        meter = _Meter(feed, metrics, clock)
        Forward(outlet, Timing(clock), clock, stop, told=meter.told, turned=health.beat).run(feed, cursor)


class _Meter:
    """What a source tells about itself."""

    def __init__(self, feed: Feed, metrics: Metrics, clock: Clock) -> None:
        self._clock = clock
        items = metrics.counter(m.SOURCE_ITEMS)
        self._sent, self._unreadable = items.labels(feed.name, "sent"), items.labels(feed.name, "unreadable")
        self._lag = metrics.gauge(m.SOURCE_LAG_SECONDS).labels(feed.name)
        self._before = Sent()

    def told(self, last: Item, sent: Sent) -> None:
        """A batch is in the topic."""
        self._sent.inc(sent.items - self._before.items)
        self._unreadable.inc(sent.unreadable - self._before.unreadable)
        self._before = Sent(sent.items, sent.unreadable)
        if last.at is not None:
            self._lag.set(max(0.0, self._clock.time() - last.at))
