"""Moods and models told apart by the real watch, over simulated weeks; the ledger is on a real Redis.

The seeds are not those that thresholds were chosen by. How streams are made: `tests.support.drift`.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from redis import Redis

from tests.support.drift import MOODS, NEW, OLD, REGRESSIONS, Kind, stream
from tests.support.drift_watch import watched
from worker.local import redis as local_redis
from worker.settings import RedisSettings
from worker.trends.redis_connection import connected
from worker.trends.windows import HOUR

SEEDS = range(20)


@pytest.fixture(scope="module")
def client() -> Iterator[Redis]:
    if local_redis.available() is not None:
        pytest.skip(str(local_redis.available()))
    with local_redis.RealRedis() as server, connected(RedisSettings(url=server.url)) as made:
        yield made


@pytest.mark.parametrize("seed", SEEDS)
def test_a_mood_is_told_as_a_mood_alone(client: Redis, seed: int) -> None:
    made = stream(seed, MOODS[seed % len(MOODS)])
    found = watched(client, made, 6)
    assert made.emotion in {alert.emotion for alert in found if alert.kind == "emotion"}
    assert [alert for alert in found if alert.kind == "drift"] == []


@pytest.mark.parametrize("seed", SEEDS)
def test_a_model_that_goes_wrong_is_told_as_a_drift_alone(client: Redis, seed: int) -> None:
    made = stream(seed, REGRESSIONS[seed % len(REGRESSIONS)])
    found = watched(client, made, 14)
    drifts = [alert for alert in found if alert.kind == "drift"]
    assert len(drifts) > 0
    assert [alert for alert in found if alert.kind == "emotion"] == []
    assert drifts[0].window.end <= made.at + 4 * HOUR
    expected = {"labels"} if made.kind == "version" else {"confidence"}
    assert {alert.measure for alert in drifts} == expected
    assert {alert.models for alert in drifts} == {(NEW, OLD) if made.kind == "version" else (OLD,)}


def test_without_the_drift_watch_a_broken_model_is_a_mood(client: Redis) -> None:
    """What keeps the tests above honest."""
    moods = [watched(client, stream(seed, "collapse"), 3, drift="off") for seed in range(3)]
    assert all({alert.kind for alert in found} == {"emotion"} for found in moods)


@pytest.mark.parametrize(("kind", "hours"), [("steady", 24), ("blur", 40)])
def test_days_are_quiet_and_a_lasting_drift_is_told_once(client: Redis, kind: Kind, hours: int) -> None:
    made = stream(77, kind, after_hours=hours + 4)
    found = watched(client, made, hours)
    assert [alert.measure for alert in found] == ([] if kind == "steady" else ["confidence"])


def test_a_small_stream_is_judged_by_the_day(client: Redis) -> None:
    made = stream(5, "blur", per_hour=60, after_hours=30)
    found = watched(client, made, 26, min_posts=50)
    [drift] = [alert for alert in found if alert.kind == "drift"]
    assert drift.window.end - drift.window.start == 24 * HOUR
    assert drift.n >= 300
