"""What whoever watches may rely on, over every feed: in memory and through a real Redis."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import pytest

from tests.support.waiting import eventually
from tests.unit.test_live import batch, ids
from worker.clock import SystemClock
from worker.local import redis as local_redis
from worker.settings import RedisSettings
from worker.trends.live.feed import Follower, LiveFeed, MemoryLiveFeed, RedisLiveFeed, Sampler
from worker.trends.live.hub import Hub, Listener, Wanted
from worker.trends.redis_connection import connected

CHANNEL = "test:emotion-labels:live"


@dataclass
class World:
    """Some instances of the role: feeds to tell through and hubs to listen to."""

    feed: Callable[[], LiveFeed]
    hub: Callable[[], Hub]
    redis: local_redis.RealRedis | None = None


@pytest.fixture(params=["memory", "redis"])
def world(request: pytest.FixtureRequest) -> Iterator[World]:
    clock, topic = SystemClock(), "emotion-labels"
    if request.param == "memory":
        hub = Hub(clock)
        yield World(lambda: MemoryLiveFeed(hub, Sampler(topic, clock)), lambda: hub)
        return
    missing = local_redis.available()
    if missing is not None:
        pytest.skip(missing)
    with ExitStack() as closing:
        server = closing.enter_context(local_redis.RealRedis())
        client = closing.enter_context(connected(RedisSettings(url=server.url, timeout_s=2)))

        def hub_of_an_instance() -> Hub:
            hub = Hub(clock)
            follower = Follower(client, CHANNEL, hub, clock, on_death=lambda: pytest.fail("it died"))
            follower.start()
            closing.callback(follower.close)
            return hub

        yield World(lambda: RedisLiveFeed(client, CHANNEL, Sampler(topic, clock)), hub_of_an_instance, server)


def tell(feed: LiveFeed, number: int, **more: Any) -> None:
    feed.counted(batch(1, start=number, **more))
    feed.flush()


def hears(listener: Listener, feed: LiveFeed, number: int) -> None:
    """Tell until it is heard: what is told before somebody's ear is open is nobody's."""
    heard: set[object] = set()

    def told() -> bool:
        tell(feed, number)
        time.sleep(0.05)
        heard.update(ids(listener.take()))
        return number in heard

    eventually(told)


def test_what_one_instance_counts_every_instance_shows(world: World) -> None:
    feeds, hubs = [world.feed(), world.feed()], [world.hub(), world.hub()]
    with hubs[0].listen(Wanted()) as one, hubs[1].listen(Wanted()) as other:
        for number, feed in enumerate(feeds):
            hears(one, feed, number)
            hears(other, feed, number)


def test_nothing_is_lost_or_changed_on_the_way(world: World) -> None:
    feed, hub = world.feed(), world.hub()
    text = "no train 😭 \u202egnorts\u202c <script>alert(1)</script> \x00\n"
    with hub.listen(Wanted(query="7f")) as listener:
        hears(listener, _Matching(feed), 0)
        tell(feed, 5, text=text, lang="en", score=0.5, id="a/b")
        found = eventually(lambda: [one for one in listener.take() if one.id == "a/b"])
        (one,) = found
        assert (one.text, one.lang, one.score, one.label) == (text, "en", 0.5, "joy")
        assert one.label_ref == "emotion-labels/0/5"
        assert one.queries == ("7f",)
        assert one.created_at.isoformat() == "2026-01-01T12:00:00+00:00"


def test_listeners_come_and_go(world: World) -> None:
    feed, hub = world.feed(), world.hub()
    for number in range(3):
        with hub.listen(Wanted()) as listener:
            hears(listener, feed, number)


def test_nobody_listening_hinders_nobody(world: World) -> None:
    feed = world.feed()
    for number in range(100):
        tell(feed, number)


def test_after_an_outage_of_redis_it_goes_on(world: World) -> None:
    feed, hub = world.feed(), world.hub()
    with hub.listen(Wanted()) as listener:
        hears(listener, feed, 1)
        if world.redis is not None:
            world.redis.kill()
            tell(feed, 2)  # nobody hears it, and nobody is hindered
            time.sleep(0.3)
            world.redis.start()
        hears(listener, feed, 3)


class _Matching:
    """Tells of posts that the tracked query `7f` matches."""

    def __init__(self, feed: LiveFeed) -> None:
        self._feed = feed

    def counted(self, told: object) -> None:
        self._feed.counted(batch(1, text="train"))

    def flush(self) -> None:
        self._feed.flush()
