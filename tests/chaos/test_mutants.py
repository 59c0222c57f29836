"""The products broken on purpose are broken where they say, and nowhere else."""

from __future__ import annotations

import pytest
from redis import Redis

from tests.chaos.unchecked import UncheckedStore, unchecked_script
from tests.support.labels import NOON, event
from worker.local.redis import RealRedis
from worker.trends.counting import aggregate
from worker.trends.keys import Keys
from worker.trends.redis_store import RedisTrendStore
from worker.trends.windows import Window

HOUR = Window(NOON, NOON + 3600, 60)


@pytest.mark.parametrize(("store", "counted"), [(RedisTrendStore, 3), (UncheckedStore, 5)])
def test_a_reader_that_was_replaced_counts_again_only_without_the_check(
    redis_server: RealRedis, store: type[RedisTrendStore], counted: int
) -> None:
    begun, batch = aggregate(0, 0, 1, [event(0)]), aggregate(0, 1, 3, [event(1), event(2)])
    with Redis.from_url(redis_server.url) as client:
        keys = Keys("test", "labels")
        first, zombie = (store(client, keys) for _ in range(2))
        first.open([0])
        position = first.apply(begun, None).position
        first.apply(batch, position)
        zombie.apply(batch, position)
        assert first.read(HOUR).n == counted


def test_the_comparison_is_where_it_is_taken_out() -> None:
    assert "HINCRBY" in unchecked_script()
