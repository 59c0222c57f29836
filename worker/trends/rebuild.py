"""`moodstream trends rebuild`: count a labels topic again from its beginning, also under a running role.

Deleting the state is the whole decision, and it is atomic: whoever reads a partition finds no offset, goes
back to the beginning and counts into a new generation. What the old generation counted is then only litter;
it is swept up afterwards, because left alone it would stay until its retention has passed. Tracked queries
stay.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import NamedTuple

from redis import Redis

from worker.settings import Settings
from worker.trends import legacy
from worker.trends.keys import Keys
from worker.trends.redis_connection import connected, reaching, text

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
    """Delete the state, then what is left of counts whose generation is over.

    What an earlier release has counted goes first: its offsets would be taken over where there is no state.
    """
    with reaching():
        old = [key for page in _pages(client, legacy.every_key(keys)) for key in page]
        swept = sum(client.unlink(key) for key in [*old, keys.legacy])
        partitions = max(0, client.hlen(keys.state) - client.hexists(keys.state, "generation"))
        client.unlink(keys.state)
        swept += sum(_sweep(client, keys, page) for page in _pages(client, keys.every_generation))
    return Rebuilt(partitions, swept)


def _sweep(client: Redis, keys: Keys, page: list[str]) -> int:
    """Delete those of these keys that are not of the generation of now.

    It is asked for after the keys were found, and a generation once over never comes back, so that what a
    running role has begun to count meanwhile is safe.
    """
    current = client.hget(keys.state, "generation")
    now = "" if current is None else text(current)
    over = [key for key in page if keys.generation_of(key) != now]
    return int(client.unlink(*over)) if over else 0  # all of one slot of a cluster


def _pages(client: Redis, pattern: str) -> Iterator[list[str]]:
    matches = client.scan_iter(match=pattern, count=_PAGE)
    while page := [key.decode() for key in islice(matches, _PAGE)]:
        yield page
