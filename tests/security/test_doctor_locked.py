"""`moodstream doctor` where all is locked: it tells a refusal as the roles do, and finds a missing ACL."""

from __future__ import annotations

import json
from collections.abc import Mapping

import pytest

from tests.security.conftest import PARTITIONS
from tests.support.command import moodstream
from tests.support.security import SECRETS, LockedKafka, LockedRedis, environment

Findings = list[dict[str, str]]


def doctor(settings: Mapping[str, str], *roles: str) -> tuple[int, Findings]:
    """Its exit code, and what is not well; no secret is in what it says."""
    chosen = [part for role in roles for part in ("--role", role)]
    more = environment("topics", partitions=PARTITIONS) | environment("model", backend="null")
    ports = {f"MOODSTREAM_{role}__HTTP__PORT": "0" for role in ("WORKER", "TRENDS", "QUALITY")}
    ended = moodstream(["doctor", "--json", *chosen], {**settings, **more, **ports})
    assert [secret for secret in SECRETS if secret in ended.output] == []
    findings = json.loads(ended.stdout)["findings"]
    return ended.code, [finding for finding in findings if finding["state"] == "fault"]


def only(findings: Findings, check: str) -> str:
    [finding] = [one for one in findings if one["check"] == check]
    return f"{finding['said']} {finding.get('mend', '')}"


@pytest.fixture(scope="module")
def redis(locked_redis: LockedRedis) -> dict[str, str]:
    return locked_redis.settings()


@pytest.mark.parametrize("role", ["worker", "trends", "quality"])
def test_the_least_acls_are_found_enough(granted: LockedKafka, redis: dict[str, str], role: str) -> None:
    _, faults = doctor({**redis, **granted.scram(f"moodstream-{role}")}, role)
    assert [fault["check"] for fault in faults if fault["check"] != "kafka.topics"] == []


def test_an_acl_that_is_missing_is_named(granted: LockedKafka, redis: dict[str, str]) -> None:
    code, faults = doctor({**redis, **granted.scram("moodstream-trends")}, "worker")
    told = only(faults, "kafka.permissions.worker")
    for lacking in (
        "Read on topic tweets",
        "Write on topic emotion-dead-letters",
        "Read on group moodstream-worker",
    ):
        assert lacking in told
    assert "User:moodstream-trends lacks an ACL; `moodstream topics acls`" in told
    assert code == 3


def test_a_transactional_id_that_is_not_allowed_is_named(granted: LockedKafka, redis: dict[str, str]) -> None:
    settings = {**redis, **granted.scram("moodstream-worker"), "MOODSTREAM_WORKER__GROUP_ID": "another"}
    told = only(doctor(settings, "worker")[1], "kafka.permissions.worker")
    assert "Write on transactional-id another-" in told
    assert "tweets" not in told


def test_refusals_are_told_as_the_roles_tell_them(granted: LockedKafka, locked_redis: LockedRedis) -> None:
    wrong = {
        **locked_redis.settings(password="not-it"),
        **granted.scram("intruder", sasl_password="not-it-either"),
    }
    code, faults = doctor(wrong, "trends")
    assert code == 3
    assert "check redis.username and redis.password" in only(faults, "redis.login")
    assert "check kafka.sasl_username, kafka.sasl_password" in only(faults, "kafka.login")


def test_certificates_that_are_out_of_date(granted: LockedKafka, redis: dict[str, str]) -> None:
    settings = {**redis, **granted.scram("intruder", bootstrap_servers=granted.kafka.at("EXPIRED"))}
    told = only(doctor(settings, "trends")[1], "kafka.login")
    assert "certificate has expired" in told
    assert "renew it" in told
