"""What was counted in the earlier layout: goes on being read, and its offsets are taken over.

    moodstream:emotion-labels:partitions             set: every partition that was ever counted
    {moodstream:emotion-labels:3}:offset             "generation:offset"
    {moodstream:emotion-labels:3}:4f1c:h:490742      hash of an hour: "minute|emotion|source" -> count
    {moodstream:emotion-labels:3}:4f1c:d:20447       hash of a day: "hour|emotion|source" -> count

It kept the keys of each partition apart. Where a partition has no offset in the layout of now and one in
the earlier, that is renamed, which stops a program that still counts in the earlier layout, and counting
goes on from there. The old counts are read beside the new until they have expired.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice, product

from redis import Redis
from redis.exceptions import ResponseError

from worker.trends.keys import Keys
from worker.trends.redis_connection import text
from worker.trends.windows import DAY, DAYS, HOURS, Bucket, Slot, Trend, Window

log = logging.getLogger(__name__)

_KEPT_S = 366 * DAY
"""How long the old generations are remembered: longer than their counts were kept by default, 35 days."""
_READ_AT_ONCE = 500
"""Hashes asked for in one round trip: some MB of answers at most."""


def offset_key(keys: Keys, partition: int | str) -> str:
    """Where the earlier layout kept a partition's position."""
    return f"{{{keys.namespace}:{keys.topic}:{partition}}}:offset"


def taken_over_key(keys: Keys, partition: int | str) -> str:
    """Where that position is once it was taken over."""
    return f"{{{keys.namespace}:{keys.topic}:{partition}}}:taken-over"


def every_key(keys: Keys) -> str:
    """A pattern for SCAN: all that the earlier layout wrote for a partition."""
    return f"{{{keys.namespace}:{keys.topic}:*}}:*"


def partitions_key(keys: Keys) -> str:
    """The set of partitions."""
    return f"{keys.namespace}:{keys.topic}:partitions"


def take_over(client: Redis, keys: Keys, partitions: Sequence[int]) -> dict[int, str]:
    """The old positions ("generation:offset") of those of these partitions that have one; they are fenced.

    Asked again it answers the same: a crash before the answer is used does no harm.
    """
    with client.pipeline(transaction=False) as pipeline:
        for number in partitions:
            pipeline.get(taken_over_key(keys, number))
            pipeline.exists(offset_key(keys, number))
        answers = pipeline.execute()
    found: dict[int, str] = {}
    for number, taken, there in zip(partitions, answers[::2], answers[1::2], strict=True):
        position = taken
        if position is None and there:
            try:
                client.rename(offset_key(keys, number), taken_over_key(keys, number))
            except ResponseError:
                log.debug("another instance takes over partition %d", number)
            position = client.get(taken_over_key(keys, number))
        if position is not None:
            found[number] = text(position)
    return found


def remember(client: Redis, keys: Keys, generations: Mapping[int, str]) -> None:
    """Note which old generations are to be read."""
    with client.pipeline() as pipeline:
        pipeline.hset(keys.legacy, mapping={str(number): name for number, name in generations.items()})
        pipeline.expire(keys.legacy, _KEPT_S)
        pipeline.execute()


def add_old(
    client: Redis, keys: Keys, trend: Trend, source: str | None, counts: Callable[[Bucket], bool]
) -> None:
    """Add what the earlier layout has counted in the trend's window, of one source or of all.

    `counts`: whether a bucket of it still does.
    """
    generations = {int(number): text(name) for number, name in client.hgetall(keys.legacy).items()}
    hashes = iter(product(filter(counts, _buckets(trend.window)), generations.items()))
    while some := tuple(islice(hashes, _READ_AT_ONCE)):
        with client.pipeline(transaction=False) as pipeline:
            for bucket, (number, generation) in some:
                tag = f"{{{keys.namespace}:{keys.topic}:{number}}}"
                pipeline.hgetall(f"{tag}:{generation}:{bucket.letter}:{bucket.number}")
            answers = pipeline.execute()
        for (bucket, _), answer in zip(some, answers, strict=True):
            trend.add(bucket, _slots(answer, source))


def sources(client: Redis, keys: Keys) -> set[str]:
    """What the earlier layout counted by name."""
    found: set[str] = set()
    for number, generation in client.hgetall(keys.legacy).items():
        tag = f"{{{keys.namespace}:{keys.topic}:{text(number)}}}"
        found.update(text(name) for name in client.smembers(f"{tag}:{text(generation)}:sources"))
    return found


def _buckets(window: Window) -> Iterable[Bucket]:
    if window.tier is DAYS:  # which it did not have
        days = range(window.start // DAY, -(-window.end // DAY))
        return (Bucket(HOURS.letter, number) for number in days)
    return window.buckets()


def _slots(answer: Mapping[bytes, bytes], source: str | None) -> Iterator[tuple[Slot, int]]:
    for name, n in answer.items():
        number, emotion, of = name.decode().split("|", 2)
        if source in (None, of):
            yield Slot(int(number), emotion), int(n)
