"""`moodstream trends rebuild`: count a labels topic again from its beginning, also under a running role.

Deleting a partition's offset is the whole decision, and it is atomic: whoever reads the partition finds no
offset, goes back to the beginning and counts into a new generation. What the old generation counted is then
only litter; it is swept up afterwards, because left alone it would stay until its retention has passed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import NamedTuple

from redis import Redis

from worker.settings import Settings
from worker.trends.keys import Keys
from worker.trends.redis_store import connected, position_of, reaching

_PAGE = 1000
"""Keys looked at in one step of SCAN, and deleted at most in one command: a millisecond of Redis' time."""


class Rebuilt(NamedTuple):
    """What a rebuild has done."""

    partitions: int
    """How many partitions will be counted again."""
    keys: int
    """How many keys of old counts were deleted."""


def rebuild(settings: Settings) -> Rebuilt:
    """Forget all counts of the labels topic in this namespace; a running role counts them again.

    Trends are incomplete until it has caught up, and reach no further back than the topic does.

    Raises:
        StoreUnavailableError: Redis cannot be reached; running it again finishes the work.
    """
    with connected(settings.redis) as client:
        return wipe(client, Keys(settings.trends.namespace, settings.topics.labels))


def wipe(client: Redis, keys: Keys) -> Rebuilt:
    """Delete every offset, then what is left of counts whose generation is over."""
    with reaching():
        offsets = sum(client.unlink(key) for page in _pages(client, keys.every_offset) for key in page)
        swept = sum(_sweep(client, keys, page) for page in _pages(client, keys.every_count))
    return Rebuilt(offsets, swept)


def _sweep(client: Redis, keys: Keys, page: Iterable[str]) -> int:
    """Delete those of these keys that belong to no generation of now.

    The generations are asked for after the keys were found, and a generation once over never comes back, so
    that what a running role has begun to count meanwhile is safe.
    """
    found: defaultdict[int, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))
    for key in page:
        partition, generation = keys.parse_count(key)
        found[partition][generation].append(key)
    deleted = 0
    for partition, generations in found.items():
        current = position_of(client.get(keys.offset(partition)))
        over = [
            key
            for generation, names in generations.items()
            if current is None or generation != current.generation
            for key in names
        ]
        if over:
            deleted += client.unlink(*over)  # one partition, so one slot of a cluster
    return deleted


def _pages(client: Redis, pattern: str) -> Iterator[list[str]]:
    matches = client.scan_iter(match=pattern, count=_PAGE)
    while page := [key.decode() for key in islice(matches, _PAGE)]:
        yield page
