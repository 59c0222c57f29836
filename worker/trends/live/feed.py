"""What the trends loop tells of the labels that it has counted, and how it reaches every instance."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Protocol

import msgspec
from redis import Redis

from worker.clock import Clock, backoff
from worker.trends.counting import Batch, Event
from worker.trends.live.hub import Hub, LiveLabel, News
from worker.trends.redis_connection import reaching
from worker.trends.store import StoreUnavailableError

FEED_PER_SECOND = 50
"""Labels that one instance tells at most; the rest are a number."""
_LOOK_S = 0.5
"""How soon the follower sees that it should end, or that nobody listens any more."""
_PING_S = 5.0
_SILENT_S = 15.0
"""A connection that says nothing for so long, though pinged, is dead."""

_encode = msgspec.json.Encoder().encode
_news = msgspec.json.Decoder(News).decode

log = logging.getLogger(__name__)


class LiveFeed(Protocol):
    """Where the loop says what it has counted. Never raises, never waits for who listens."""

    def counted(self, batch: Batch) -> None:
        """All of this is counted."""
        ...

    def flush(self) -> None:
        """The turn ends: tell."""
        ...


class Sampler:
    """Chooses what is told: at most `per_second`, spread over all that a turn has counted."""

    def __init__(
        self, topic: str, clock: Clock, *, text: bool = True, per_second: int = FEED_PER_SECOND
    ) -> None:
        """`text`: whether the posts' texts are told too."""
        self._topic = topic
        self._clock = clock
        self._text = text
        self._per_second = per_second
        self._allowed = float(per_second)
        self._refilled_at = clock.monotonic()
        self._batches: list[Batch] = []

    def add(self, batch: Batch) -> None:
        """This is counted."""
        self._batches.append(batch)

    def news(self) -> News | None:
        """What to tell of all that was added since the last time; `None`: nothing."""
        now = self._clock.monotonic()
        earned = (now - self._refilled_at) * self._per_second
        self._allowed = min(self._per_second, self._allowed + earned)
        self._refilled_at = now
        batches, self._batches = self._batches, []
        n = sum(len(batch.events) for batch in batches)
        if not n:
            return None
        few = list(_spread(batches, n, int(self._allowed)))
        self._allowed -= len(few)
        return News(n, tuple(self._shown(*one) for one in few))

    def _shown(self, partition: int, event: Event) -> LiveLabel:
        label = event.label
        assert label is not None  # noqa: S101 - the loop's batches are decoded from records
        return LiveLabel(
            id=label.shown_id,
            label=label.label,
            score=round(label.score, 4),
            source=event.cell.source,
            created_at=label.created_at,
            label_ref=f"{self._topic}/{partition}/{event.offset}",
            lang=event.lang,
            text=label.text if self._text else None,
            queries=tuple(event.queries),
        )


class RedisLiveFeed:
    """A `LiveFeed` over a Redis channel."""

    def __init__(self, client: Redis, channel: str, sampler: Sampler) -> None:
        self._client = client
        self._channel = channel
        self._sampler = sampler

    def counted(self, batch: Batch) -> None:
        self._sampler.add(batch)

    def flush(self) -> None:
        news = self._sampler.news()
        if news is None:
            return
        # The counts are what matters: a Redis that is away is the store's to notice and to wait for.
        with suppress(StoreUnavailableError), reaching():
            self._client.publish(self._channel, _encode(news))


class MemoryLiveFeed:
    """A `LiveFeed` into a hub of the same process: for tests."""

    def __init__(self, hub: Hub, sampler: Sampler) -> None:
        self._hub = hub
        self._sampler = sampler

    def counted(self, batch: Batch) -> None:
        self._sampler.add(batch)

    def flush(self) -> None:
        news = self._sampler.news()
        if news is not None:
            self._hub.publish(news)


class Follower:
    """The thread that hears a channel while somebody listens to the hub.

    `on_death` is called where it ends by itself, which nothing but a fault of ours makes it do; `close` then
    raises that fault.
    """

    def __init__(
        self, client: Redis, channel: str, hub: Hub, clock: Clock, *, on_death: Callable[[], None]
    ) -> None:
        self._client = client
        self._channel = channel
        self._hub = hub
        self._clock = clock
        self._on_death = on_death
        self._closing = threading.Event()
        self._death: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name="live", daemon=True)

    def start(self) -> None:
        """Begin to wait for listeners."""
        self._thread.start()

    def close(self) -> None:
        """Send the listeners away and end."""
        self._hub.close()
        self._closing.set()
        self._thread.join(2 * _LOOK_S)
        if self._death is not None:
            raise self._death

    def _run(self) -> None:
        waits = backoff()
        try:
            while not self._closing.is_set():
                if not self._hub.wait_for_listeners(_LOOK_S):
                    continue
                try:
                    self._follow()
                    waits = backoff()
                except StoreUnavailableError as away:
                    log.debug("live: %s", away)  # the loop's dependency says it, once
                    self._closing.wait(next(waits))
        except BaseException as error:
            self._death = error
            log.exception("live: the thread that follows the labels died")
            self._on_death()

    def _follow(self) -> None:
        """Hear the channel until nobody listens.

        Raises:
            StoreUnavailableError: Redis is away.
        """
        with reaching(), self._client.pubsub() as channel:  # type: ignore[no-untyped-call]
            channel.subscribe(self._channel)
            heard_at = pinged_at = self._clock.monotonic()
            while self._hub.listeners and not self._closing.is_set():
                message = channel.get_message(timeout=_LOOK_S)
                now = self._clock.monotonic()
                if message is not None:
                    heard_at = now
                    if message["type"] == "message":
                        self._publish(message["data"])
                elif now - heard_at > _SILENT_S:
                    raise StoreUnavailableError("redis", "the channel of live labels is silent")
                if now - pinged_at > _PING_S:
                    channel.ping()
                    pinged_at = now

    def _publish(self, data: bytes) -> None:
        try:
            news = _news(data)
        except msgspec.MsgspecError:  # another version of ours, or a stranger
            log.debug("live: a message that is none of ours")
            return
        self._hub.publish(news)


def _spread(batches: Iterable[Batch], n: int, most: int) -> Iterator[tuple[int, Event]]:
    """Partition and event of at most so many of the `n`, evenly spread; the others are not touched."""
    few = min(n, most)
    places = (int((number + 0.5) * n / few) for number in range(few))
    place, before = next(places, n), 0
    for batch in batches:
        while place - before < len(batch.events):
            yield batch.partition, batch.events[place - before]
            place = next(places, n)
        before += len(batch.events)
