"""How many workers, partitions and stores a rate needs, and how long posts then take. Pure arithmetic.

The queueing model of one worker: it reads posts at a steady rate, and while a batch is in the model the next
one comes together. So a batch holds what arrived during the turn before it, and a turn takes what its batch
costs the model: a fixed point, in which a queue with bulk service (Bailey 1954, "On queueing processes with
bulk service") settles at a steady rate. A transaction is committed while the next batch is in the model: it
makes a post wait, and a turn no longer, unless it takes longer than that batch. `make scale-proof` holds it
against measured delays.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np

_HOUR_S = 3600
_PLACES = 1000


class Turn(msgspec.Struct, frozen=True):
    """What a batch costs a worker process."""

    base_s: float
    """Of any batch in the model, in seconds."""
    post_s: float
    """Of each post in it."""
    commit_s: float
    """Of the transaction, while the model has the next batch."""
    linger_s: float
    """How long a post waits for others where the model has nothing to do: `batch.linger_ms`."""
    most: int
    """Posts in a batch at most: `batch.max_records`, or what the token budget comes to."""
    transit_s: float = 0.0
    """From the sender to this worker, and from its commit to a reader."""

    @property
    def capacity(self) -> float:
        """Posts a second with full batches: transactions are done while the next one is in the model."""
        seconds = self.base_s + self.post_s * self.most
        return self.most / max(seconds, self.commit_s)


class Delays(msgspec.Struct, frozen=True):
    """Of posts, from their sender to a reader of their committed labels."""

    batch: float
    """Posts in a batch, of the busiest worker."""
    p50_s: float
    p99_s: float


def turn_posts(turn: Turn, posts_per_s: float) -> float:
    """Posts in a batch of a worker that gets so many a second.

    Raises:
        ValueError: it is more than its capacity, so that posts wait ever longer.
    """
    share = posts_per_s * turn.post_s
    batch = posts_per_s * turn.base_s / (1 - share) if share < 1 else math.inf
    batch = max(batch, posts_per_s * turn.commit_s)
    if batch > turn.most and posts_per_s >= turn.capacity:
        raise ValueError(f"{posts_per_s:g} posts/s are more than the {turn.capacity:g} of its capacity")
    return min(max(batch, _lingered(turn, posts_per_s)), turn.most)


def _lingered(turn: Turn, posts_per_s: float) -> float:
    """Posts in a batch that waits for nothing but `linger_s`, which begins with its first post."""
    return posts_per_s * turn.linger_s + 1


def delays(turn: Turn, posts_per_s: Sequence[float]) -> Delays:
    """What workers that get so many posts a second each make of them.

    A post waits for the rest of the turn in which it came, evenly spread, and then for its own batch.

    Raises:
        ValueError: no posts, or more than the capacity of a worker.
    """
    rates = np.asarray([rate for rate in posts_per_s if rate > 0])
    if not len(rates):
        raise ValueError("there must be posts")
    batches = np.array([turn_posts(turn, rate) for rate in rates])
    own_s = turn.base_s + turn.commit_s + turn.post_s * batches + turn.transit_s
    lingers = np.array([_lingered(turn, rate) for rate in rates]) >= batches
    waits_s = np.where(lingers, turn.linger_s, batches / rates)
    places = (np.arange(_PLACES) + 0.5) / _PLACES  # of posts within the turn in which they come
    seconds = (own_s[:, None] + waits_s[:, None] * places).ravel()
    order = np.argsort(seconds)
    up_to = np.cumsum(np.repeat(rates, _PLACES)[order]) / (rates.sum() * _PLACES)
    p50, p99 = (float(seconds[order][np.searchsorted(up_to, share)]) for share in (0.5, 0.99))
    return Delays(float(batches.max()), p50, p99)


class Costs(msgspec.Struct, frozen=True):
    """What was measured of each part, by one process of it. The defaults: bench/RESULTS.md, two CPU cores."""

    labels_per_s: float = 1012.0
    """Of a worker on such a machine (`bench cpu`), or on a GPU."""
    host_per_s: float = 28_000.0
    """Of all that a worker does around its model (`bench stream`, null model): the bound with a fast GPU."""
    trends_per_s: float = 22_000.0
    """Labels that one `trends` counts (`bench trends`, with terms), its Redis on the same two cores."""
    redis_per_s: float = 123_000.0
    """Labels that one Redis takes with terms, by its processor time in `bench trends`: it has one thread."""
    post_bytes: int = 260
    """Of a real tweet in Kafka with key, author, language and source; uncompressed."""
    label_bytes: int = 490
    """Of its label, which carries the text."""
    broker_mb_per_s: float = 50.0
    """Written by one broker, replicas included. An assumption, not measured."""
    price_per_hour: float = 0.09
    """Of one such machine. An assumption: a small instance of two cores."""


class Needs(msgspec.Struct, frozen=True):
    """What a rate needs."""

    posts_per_s: float
    workers: int
    partitions: int
    """Of the input topics together and of the labels topic."""
    trends: int
    redis: int
    """Servers. Counts of one labels topic live on one of them, so that more mean as many topics."""
    brokers: int
    kafka_mb_per_s: float
    """Written, replicas included."""
    kafka_tb_per_week: float
    """Held by the brokers if nothing is deleted for a week, uncompressed."""
    price_per_million: float
    """Posts, of workers and trends alone, at this rate all the time."""


def needs(posts_per_s: float, costs: Costs, *, load: float, replicas: int) -> Needs:
    """What so many posts a second need.

    Args:
        posts_per_s: At the peak.
        costs: Of each part.
        load: Share of its capacity that each worker and trends is to carry at the peak, 0 to 1: the rest is
            for the restart of another, and for latency.
        replicas: Of every topic.

    Raises:
        ValueError: a rate or a load that makes no sense.
    """
    if posts_per_s <= 0 or not 0 < load <= 1 or replicas < 1:
        raise ValueError("posts_per_s above 0, load above 0 and at most 1, replicas at least 1")
    workers = math.ceil(posts_per_s / (load * min(costs.labels_per_s, costs.host_per_s)))
    trends = math.ceil(posts_per_s / (load * costs.trends_per_s))
    written = posts_per_s * (costs.post_bytes + costs.label_bytes) * replicas / 1e6
    machines = workers + trends  # a Redis shares the machine of a trends, as where it was measured
    return Needs(
        posts_per_s=posts_per_s,
        workers=workers,
        partitions=_partitions(max(workers, trends)),
        trends=trends,
        redis=math.ceil(posts_per_s / (load * costs.redis_per_s)),
        brokers=max(replicas, math.ceil(written / (load * costs.broker_mb_per_s))),
        kafka_mb_per_s=round(written, 1),
        kafka_tb_per_week=round(written * 7 * 24 * _HOUR_S / 1e6, 2),
        price_per_million=round(machines * costs.price_per_hour / _HOUR_S / posts_per_s * 1e6, 4),
    )


def _partitions(members: int) -> int:
    """Two for each member, so that twice as many can be started; a multiple of 12: many numbers divide it."""
    return math.ceil(2 * members / 12) * 12
