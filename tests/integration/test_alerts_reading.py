"""What spikes are judged by: usual values that are remembered, and the mix of models on a real Redis."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from redis import Redis

from tests.support.alerts import KEYS
from tests.support.labels import NOON, label
from worker.clock import ManualClock
from worker.local.redis import RealRedis
from worker.settings import RedisSettings
from worker.trends.alerts.history import Group, recent
from worker.trends.alerts.models import ModelMix, by_share, comparable, distance
from worker.trends.alerts.usuals import Usuals
from worker.trends.counting import Batch, aggregate, decode
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.redis_connection import connected
from worker.trends.store import Limits, Position, StoreUnavailableError
from worker.types import EMOTIONS, Record

HOUR = 3600
START = NOON // HOUR


@pytest.fixture
def client(redis_server: RealRedis) -> Iterator[Redis]:
    with connected(RedisSettings(url=redis_server.url, timeout_s=2)) as client:
        yield client


def batch(*labels: bytes, start: int = 0) -> Batch:
    records = [Record("labels", 0, start + at, None, value, 0) for at, value in enumerate(labels)]
    return aggregate(0, start, start + len(labels), decode(records).events)


class World:
    """Counts in memory, and the usual values of their hours."""

    def __init__(self) -> None:
        self.clock = ManualClock(NOON)
        self.store = MemoryTrendStore(self.clock, Limits(1e9, 1e9, 1e9))
        self.position: Position | None = None
        self.usuals = Usuals(self.store, 1, self.clock)

    def write(self, hours: range, n: int) -> None:
        start = 0 if self.position is None else self.position.offset
        labels = [label("joy", at=hour * HOUR + number) for hour in hours for number in range(n)]
        self.position = self.store.apply(batch(*labels, start=start), self.position).position

    def usually(self, hours: range, *, other_model: bool = False) -> dict[int, float]:
        """What each hour usually holds of all posts."""
        same = {hour: np.full(self.usuals.hours, not other_model) for hour in hours}
        found = self.usuals.of([Group(None, np.zeros((7, 1)))], hours, same)
        return {hour: float(one.whole[0]) for hour, one in found.items()}


class TestUsuals:
    def test_each_hour_is_judged_by_those_before_it(self) -> None:
        world = World()
        world.write(range(START - 20, START - 1), 10)
        world.write(range(START - 1, START), 1000)
        before, now = world.usually(range(START - 1, START + 1)).values()

        assert before == pytest.approx(10, rel=0.1)
        assert now == pytest.approx(10, rel=0.1)

    def test_it_is_remembered_and_seen_anew_after_a_while(self) -> None:
        world = World()
        world.write(range(START - 80, START), 10)
        first = world.usually(range(START, START + 1))
        world.write(range(START - 80, START), 10)
        world.clock.sleep(500)
        assert world.usually(range(START, START + 1)) == first
        world.clock.sleep(101)
        assert world.usually(range(START, START + 1))[START] == pytest.approx(20, rel=0.1)

    def test_a_store_that_is_being_filled_is_looked_at_again_soon(self) -> None:
        """After a rebuild, say: the first look finds nothing."""
        world = World()
        assert np.isnan(world.usually(range(START, START + 1))[START])
        world.write(range(START - 80, START), 10)
        world.clock.sleep(6)
        assert world.usually(range(START, START + 1))[START] == pytest.approx(10, rel=0.1)

    @pytest.mark.parametrize("hours", [range(START, START + 2), range(START + 1, START + 2)])
    def test_another_hour_is_another_question(self, hours: range) -> None:
        world = World()
        world.usually(range(START, START + 1))
        world.write(range(START - 80, START + 1), 10)
        assert world.usually(hours)[hours[-1]] == pytest.approx(10, rel=0.1)

    def test_so_is_another_model(self) -> None:
        world = World()
        world.usually(range(START, START + 1))
        world.write(range(START - 80, START), 10)
        assert world.usually(range(START, START + 1), other_model=True)[START] == pytest.approx(10, rel=0.1)

    def test_rows_are_all_posts_and_then_each_emotion(self) -> None:
        store = MemoryTrendStore(ManualClock(NOON), Limits(1e9, 1e9, 1e9))
        labels = label("anger", at=NOON), label("anger", at=NOON + 300), label("neutral", at=NOON)
        store.apply(batch(*labels), None)
        counts = recent(store, None, NOON, NOON + 600)

        assert counts.shape == (7, 2)
        assert counts[0].tolist() == [2, 1]
        assert counts[1 + EMOTIONS.index("anger")].tolist() == [1, 1]
        assert counts.sum() == 3 + 2


class TestModelMix:
    def test_it_knows_who_labelled_which_hour(self, client: Redis) -> None:
        mix, other = (ModelMix(client, KEYS, 99 * HOUR) for _ in range(2))
        mix.note(batch(*[label(at=NOON, model="a@1")] * 6, *[label(at=NOON, model="b@1")] * 3))
        mix.note(batch(label(at=NOON + HOUR, model="b@1")))
        other.note(batch(label(at=NOON, model="a@1")))
        mix.flush()
        other.flush()

        mixes = mix.read(range(START - 30, START + 2))
        assert [dict(found) for found in mixes[-2:]] == [{"a@1": 7, "b@1": 3}, {"b@1": 1}]
        assert not any(mixes[:-2])
        assert by_share(mixes) == ("a@1", "b@1")
        assert all(0 < client.ttl(key) <= 99 * HOUR for key in client.scan_iter())

    def test_a_large_batch_is_looked_at_here_and_there(self, client: Redis) -> None:
        mix = ModelMix(client, KEYS, 99 * HOUR)
        values = [label(at=NOON, model="a@1"), label(at=NOON, model="a@1"), label(at=NOON, model="b@1")]
        mix.note(batch(*(values * 2000)))
        mix.flush()

        [found] = mix.read(range(START, START + 1))
        assert sum(found.values()) == pytest.approx(6000, rel=0.05)
        assert found["a@1"] / sum(found.values()) == pytest.approx(2 / 3, abs=0.3)

    def test_what_could_not_be_written_is_kept(self, client: Redis, redis_server: RealRedis) -> None:
        mix = ModelMix(client, KEYS, 99 * HOUR)
        redis_server.kill()
        mix.note(batch(label(at=NOON, model="a@1")))
        with pytest.raises(StoreUnavailableError):
            mix.flush()
        mix.note(batch(label(at=NOON, model="a@1")))
        redis_server.start()
        mix.flush()

        assert [dict(found) for found in mix.read(range(START, START + 1))] == [{"a@1": 2}]

    def test_a_past_day_is_read_once(self, client: Redis) -> None:
        mix = ModelMix(client, KEYS, 99 * HOUR)
        mix.note(batch(label(at=NOON, model="a@1")))
        mix.flush()
        span = range(START - 24, START + 100)
        before = mix.read(span)
        client.flushall()

        assert mix.read(span) == before


class TestDistance:
    def test_it_is_the_share_that_differs(self) -> None:
        assert distance({"a": 5}, {"a": 500}) == 0
        assert distance({"a": 5}, {"b": 5}) == 1
        assert distance({"a": 9, "b": 1}, {"a": 1, "b": 1}) == pytest.approx(0.4)
        assert distance({}, {"a": 1}) == 0

    def test_two_models_that_share_the_work_for_good_are_one_mix(self) -> None:
        mixes = [{"a": 48, "b": 52}, {"a": 55, "b": 45}, {"a": 100}, {}]

        assert comparable(mixes, {"a": 500, "b": 500}).tolist() == [True, True, False, True]
        assert np.all(comparable([], {"a": 1}))
