"""A source that runs for ever, with its health and metrics served beside it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from typing import NamedTuple

from worker import metrics as m
from worker.clock import Clock
from worker.dependency import Dependency
from worker.metrics import Metrics
from worker.process import Stop
from worker.settings import Settings
from worker.sources.edges import Around, Feed, Item
from worker.sources.forward import Forward, Sent
from worker.sources.outlet import Outlet
from worker.sources.recent import recent_keys
from worker.sources.timing import Timing
from worker.sources.window import Window
from worker.web.health import Health
from worker.web.server import serve

_PATIENCE_S = 10 * 365 * 86_400.0
"""Kafka is waited for as long as it takes."""
_ANSWER_S = 60.0
"""As long as others' transactions may hold back what is read."""


class Wanted(NamedTuple):
    """What is asked for."""

    topic: str
    what: str
    """Where it reads from, as metrics and messages call it."""
    feed: Callable[[Around], Feed]
    name: str
    """The feed's."""
    window: Window | None = None
    """Gets the keys of what was written lately, where the feed looks at them."""


def run(settings: Settings, metrics: Metrics, clock: Clock, stop: Stop, *, wanted: Wanted) -> None:
    """Write what a feed gives until `stop` is set.

    Raises:
        ConfigurationError: there is no such topic, or an address cannot be used.
        DependencyError: Kafka or the feed's server refuses us.
        DataLossAvertedError: another process of this source has taken over.
    """
    source = settings.source
    health = Health(clock, source.stall_s, ("kafka", wanted.what))
    server = Dependency(wanted.what, clock, metrics, health)
    outcomes = metrics.counter(m.SOURCE_ITEMS)

    def told(up: bool, why: str) -> None:
        if up:
            server.works()
        else:
            server.failed(why)

    def go_on() -> bool:
        health.beat()  # waiting for Kafka is no reason to be restarted
        return not stop.overdue(source.drain_s)

    with ExitStack() as closing:
        closing.enter_context(serve(source.http, metrics, health, on_death=stop.set, clock=clock))
        feed = wanted.feed(Around(clock, stop, told, lambda what: outcomes.labels(wanted.name, what).inc()))
        outlet = Outlet(
            settings, wanted.topic, feed.name, wait_s=_PATIENCE_S, clock=clock, metrics=metrics, go_on=go_on
        )
        closing.callback(outlet.close)
        cursor = outlet.open()
        if wanted.window is not None:  # behind the fence: nobody writes under our name any more
            recall(settings, wanted.topic, feed.name, wanted.window, clock)
        health.set("kafka", True)
        meter = _Meter(feed, metrics, clock)
        Forward(outlet, Timing(clock), clock, stop, told=meter.told, turned=health.beat).run(feed, cursor)


def recall(settings: Settings, topic: str, name: str, window: Window, clock: Clock) -> None:
    """Fill a window with the keys of what was written into a topic lately.

    Raises:
        DependencyError: no broker answered in time, or it refused.
    """
    keys = recent_keys(settings, topic, name, settings.source.window, wait_s=_ANSWER_S, clock=clock)
    for key in keys:
        window.add(key)


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
