"""The ledger on a real Redis: each alert once, by whoever holds the lease, until it is delivered."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest
from redis import Redis

from tests.support.alerts import HOOK, HOUR, KEYS, alert, ledger
from tests.support.waiting import eventually
from worker.local.redis import RealRedis
from worker.settings import RedisSettings
from worker.trends.alerts.ledger import KAFKA, Recorded, channel_of
from worker.trends.alerts.series import Series
from worker.trends.keys import Keys
from worker.trends.rebuild import wipe
from worker.trends.redis_connection import connected
from worker.trends.store import StoreUnavailableError


@pytest.fixture
def client(redis_server: RealRedis) -> Iterator[Redis]:
    with connected(RedisSettings(url=redis_server.url, timeout_s=2)) as client:
        yield client


def test_an_alert_is_recorded_once_and_queued_for_every_channel(client: Redis) -> None:
    ours = ledger(client)
    assert ours.lead()
    assert ours.record(*alert(), 0).outcome == "new"
    assert ours.record(*alert(), 0).outcome == "known"

    assert ours.find(0, HOUR, 10) == [alert()[0]]
    assert [ours.next_for(channel) for channel in ours.channels] == [alert()[0]] * 2
    assert [ours.waiting(channel) for channel in ours.channels] == [1, 1]
    assert ours.delivered(KAFKA, alert()[0])
    assert [ours.waiting(channel) for channel in ours.channels] == [0, 1]
    assert ours.next_for(KAFKA) is None
    assert not ours.delivered(KAFKA, alert()[0])


def test_a_restart_knows_what_was_recorded(client: Redis) -> None:
    first = ledger(client)
    first.lead()
    first.record(*alert(), 6 * HOUR)
    first.let_go()
    second = ledger(client)

    assert second.lead()
    assert second.record(*alert(), 6 * HOUR).outcome == "known"
    assert second.next_for(HOOK) == alert()[0]


@pytest.mark.parametrize(
    ("end", "outcome"),
    [(3 * HOUR, "quiet"), (7 * HOUR - 300, "quiet"), (7 * HOUR, "new"), (HOUR - 300, "quiet")],
)
def test_a_series_is_quiet_for_a_while_and_others_are_not(client: Redis, end: int, outcome: str) -> None:
    """Also for windows before the alert's: they are looked at again."""
    ours = ledger(client)
    ours.lead()
    ours.record(*alert(HOUR), 6 * HOUR)

    assert ours.record(*alert(end), 6 * HOUR).outcome == outcome
    assert ours.record(*alert(end, "anger"), 6 * HOUR).outcome == "new"
    assert ours.record(*alert(end, "joy", "brand"), 6 * HOUR).outcome == "new"
    assert ours.quiet([Series(None, "anger"), Series(None, "fear")]) == [end, None]


def test_one_instance_leads_and_its_successor_waits(client: Redis) -> None:
    first, second = ledger(client, lease_s=0.3), ledger(client, lease_s=0.3)
    assert first.lead()
    assert not second.lead()
    assert first.lead()  # renewed
    eventually(second.lead, within_s=5)  # the first one was killed

    assert not first.lead()
    assert first.record(*alert(), 0) == Recorded("fenced")
    assert second.record(*alert(), 0).outcome == "new"
    assert not first.delivered(KAFKA, alert()[0])


def test_a_lease_that_is_given_back_is_free_at_once(client: Redis) -> None:
    first, second = ledger(client), ledger(client)
    first.lead()
    second.let_go()  # not its own
    assert not second.lead()
    first.let_go()
    assert second.lead()


def test_many_at_once_record_one(client: Redis) -> None:
    """Even if all of them held the lease."""
    one = ledger(client)
    one.lead()
    with ThreadPoolExecutor(8) as threads:
        outcomes = list(threads.map(lambda _: one.record(*alert(), 0).outcome, range(50)))

    assert sorted(outcomes) == ["known"] * 49 + ["new"]
    assert one.waiting(HOOK) == 1


def test_a_full_queue_drops_the_oldest_and_says_so(client: Redis) -> None:
    ours = ledger(client, max_queued=3)
    ours.lead()
    dropped = [ours.record(*alert(end * HOUR), 0).dropped for end in range(1, 6)]

    assert dropped == [{KAFKA: 0, HOOK: 0}] * 3 + [{KAFKA: 1, HOOK: 1}] * 2
    assert ours.next_for(HOOK) == alert(3 * HOUR)[0]


def test_the_oldest_are_forgotten_and_the_newest_come_first(client: Redis) -> None:
    ours = ledger(client, max_kept=4)
    ours.lead()
    for end in (1, 2, 6, 5, 4, 3):
        ours.record(*alert(end * HOUR), 0)

    def ends(start: float, end: float, limit: int) -> list[int]:
        return [found.window.end // HOUR for found in ours.find(start, end, limit)]

    assert ends(0, 99 * HOUR, 10) == [6, 5, 4, 3]
    assert ends(0, 99 * HOUR, 2) == [6, 5]
    assert ends(4 * HOUR, 5 * HOUR, 10) == [5]


def test_everything_expires_and_lives_on_one_node(client: Redis) -> None:
    ours = ledger(client)
    ours.lead()
    ours.record(*alert(query="a}b{c"), 0)
    names = [str(key, "ascii") for key in client.scan_iter()]

    assert len(names) == 6
    assert all(name.startswith("{moodstream:emotion-labels}:alerts:") for name in names)
    assert all(0 < client.ttl(name) <= 7 * 24 * HOUR for name in names)


def test_a_rebuild_of_the_trends_leaves_the_alerts_alone(client: Redis) -> None:
    ours = ledger(client)
    ours.lead()
    ours.record(*alert(), 0)
    wipe(client, Keys(*KEYS))

    assert ours.find(0, HOUR, 10) == [alert()[0]]


def test_an_alert_of_a_later_version_is_read(client: Redis) -> None:
    ours = ledger(client)
    ours.lead()
    ours.record(*alert(), 0)
    body = {**msgspec.json.decode(msgspec.json.encode(alert()[0])), "more": [1]}
    client.hset(KEYS.of("by-id"), alert()[0].id, msgspec.json.encode(body))

    assert ours.find(0, HOUR, 10) == [alert()[0]]


def test_a_redis_that_is_away_is_one_error(client: Redis, redis_server: RealRedis) -> None:
    ours = ledger(client)
    ours.lead()
    redis_server.kill()
    began = time.monotonic()
    for call in (ours.lead, lambda: ours.find(0, 1, 1), lambda: ours.record(*alert(), 0), ours.let_go):
        with pytest.raises(StoreUnavailableError):
            call()
    assert time.monotonic() - began < 10


def test_a_channels_name_does_not_give_its_address_away() -> None:
    assert len(HOOK) == 12
    assert channel_of("https://hooks.example/other") != HOOK
