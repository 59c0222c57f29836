"""A Redis with TLS, client certificates and an ACL: whom it takes, and what all others are told."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.support.command import Ended, moodstream
from tests.support.security import SECRETS, LockedKafka, LockedRedis, environment
from worker.configuration import load
from worker.errors import ConfigurationError
from worker.local.processes import free_port
from worker.trends.counting import aggregate
from worker.trends.keys import Keys
from worker.trends.redis_store import RedisTrendStore, connected
from worker.trends.store import StoreRefusedError, StoreUnavailableError

KEYS = Keys("moodstream", "emotion-labels")


def counted(settings: Mapping[str, str], keys: Keys = KEYS) -> None:
    """Ask where partition 7 stands, and count an empty batch of it."""
    with connected(load(env=dict(settings)).redis) as client:
        store = RedisTrendStore(client, keys)
        batch = aggregate(7, 0, 10, [])
        store.apply(batch, store.open([7])[7])


def test_whom_the_page_lets_in_may_count(locked_redis: LockedRedis) -> None:
    counted(locked_redis.settings())


def restricted(redis: LockedRedis, name: str, rule: str) -> dict[str, str]:
    """The settings of a user with a rule of their own."""
    redis.allow(f"ACL SETUSER {name} on >PASSWORD {rule}")
    return redis.settings(username=name)


def refused(redis: LockedRedis) -> dict[str, tuple[dict[str, str], str]]:
    """Who is refused, and what they must be told."""
    credentials = "invalid username-password pair.*check redis.username and redis.password"
    certificate = "does not take our client certificate.*set redis.ssl_certificate_location"
    everything = "~moodstream:* ~{moodstream:* +@all"
    return {
        "wrong password": (redis.settings(password="wrong"), credentials),
        "unknown user": (redis.settings(username="nobody"), credentials),
        "no command": (restricted(redis, "no-command", f"{everything} -@write"), "docs/security.md"),
        "no key": (restricted(redis, "no-key", "~other:* +@all"), "no permissions.*docs/security.md"),
        "not in scripts": (
            restricted(redis, "no-set", f"{everything} -set -hset -hincrby"),
            "docs/security.md",
        ),
        "expired server": (
            redis.settings(port=redis.out_of_date.options["tls-port"]),
            "its certificate cannot be trusted: certificate has expired: renew it",
        ),
        "unknown CA": (
            redis.settings(ssl_ca_location=redis.stranger.certificate),
            "cannot be trusted: self-signed certificate in certificate chain.*set redis.ssl_ca_location",
        ),
        "expired client": (redis.settings(redis.expired), certificate),
        "unknown client": (redis.settings(redis.strange), certificate),
        "no client certificate": (
            {
                name: value
                for name, value in redis.settings().items()
                if "SSL_CERT" not in name and "KEY" not in name
            },
            certificate,
        ),
    }


def test_who_is_refused_is_told_why_and_what_to_do(locked_redis: LockedRedis) -> None:
    for settings, told in refused(locked_redis).values():
        for _ in range(3):  # a refusal that crosses our first command is heard as well
            with pytest.raises(StoreRefusedError, match=f"(?s){told}") as caught:
                counted(settings)
            assert not [secret for secret in SECRETS if secret in str(caught.value)]


def test_a_redis_that_is_away_is_waited_for(locked_redis: LockedRedis) -> None:
    with pytest.raises(StoreUnavailableError) as caught:
        counted(locked_redis.settings(port=str(free_port())))
    assert not isinstance(caught.value, StoreRefusedError)


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"ssl_key_password": "wrong"}, "redis.ssl_key_password: .* does not open with it"),
        ({"ssl_ca_location": "/nowhere"}, "redis.ssl_ca_location: /nowhere: No such file"),
        ({"url": "redis://127.0.0.1:1/0"}, "rediss://"),
    ],
)
def test_files_that_cannot_be_used_stop_the_start(
    locked_redis: LockedRedis, changed: dict[str, str], told: str
) -> None:
    with pytest.raises(ConfigurationError, match=told):
        counted(locked_redis.settings() | environment("redis", **changed))


def test_an_encrypted_key_without_its_password_asks_nobody(locked_redis: LockedRedis) -> None:
    settings = locked_redis.settings()
    del settings["MOODSTREAM_REDIS__SSL_KEY_PASSWORD"]
    with pytest.raises(ConfigurationError, match=r"is encrypted: set its password"):
        counted(settings)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_commands_end_with_3(locked_redis: LockedRedis, granted: LockedKafka) -> None:
    cases = refused(locked_redis)
    others = granted.scram("moodstream-trends")
    others["MOODSTREAM_TRENDS__HTTP__PORT"] = "0"
    runs = [
        (name, command)
        for name in ("wrong password", "no key", "expired server", "expired client")
        for command in (["trends"], ["trends", "rebuild"])
    ]

    def run(case: tuple[str, list[str]]) -> Ended:
        return moodstream(case[1], others | cases[case[0]][0], within_s=120)

    with ThreadPoolExecutor(4) as pool:
        for (name, command), end in zip(runs, pool.map(run, runs), strict=True):
            assert end.code == 3, (name, command, end.output)
            assert "Traceback" not in end.output, (name, command)
            if name != "expired client":
                assert "redis" in end.last_line, (name, command, end.output)
