"""A Kafka with TLS, passwords, client certificates and ACLs: whom it takes, and what all others are told.

One secured Kafka for all; the commands are real processes, of which four run at a time.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from tests.support.command import Ended, moodstream
from tests.support.security import KAFKA_PASSWORD, SECRETS, LockedKafka, acls
from worker.settings import Settings
from worker.topics.acls import commands, least

COMMANDS = {
    "worker": ["worker"],
    "trends": ["trends"],
    "check": ["topics", "check"],
    "create": ["topics", "create"],
}
AT_ONCE = 4


@dataclass(frozen=True)
class Case:
    """Somebody who is refused: with which settings, and what they must be told."""

    name: str
    settings: dict[str, str]
    told: tuple[str, ...]
    roles: tuple[str, ...] = ("worker", "trends", "check")
    code: int = 3


def refused(locked_kafka: LockedKafka) -> list[Case]:
    """Whom the Kafka, or TLS on the way to it, refuses."""
    password = ("Authentication failed", "User:intruder", "kafka.sasl_password")
    expired = ("certificate has expired", "renew it")
    return [
        Case("wrong password", locked_kafka.scram("intruder", sasl_password="wrong"), password),
        Case(
            "mechanism",
            locked_kafka.scram("intruder", sasl_mechanism="PLAIN"),
            ("supported mechanisms: SCRAM-SHA-512", "kafka.sasl_mechanism"),
            roles=("check",),
        ),
        Case(
            "expired broker",
            locked_kafka.scram("intruder", bootstrap_servers=locked_kafka.kafka.at("EXPIRED")),
            (*expired, locked_kafka.kafka.at("EXPIRED")),
        ),
        Case(
            "unknown CA",
            locked_kafka.scram("intruder", ssl_ca_location=locked_kafka.stranger.certificate),
            ("unable to get local issuer certificate", "set kafka.ssl_ca_location"),
        ),
        Case(
            "expired client",
            locked_kafka.mtls("mtls-old"),
            (*expired, str(locked_kafka.files["mtls-old"].certificate)),
        ),
        Case(
            "unknown client",
            locked_kafka.mtls("mtls-stranger"),
            ("kafka.ssl_certificate_location", "signed by a CA that the server trusts"),
            roles=("trends",),
        ),
        Case(
            "no client certificate",
            locked_kafka.mtls(None),
            ("wants a client certificate", "kafka.ssl_certificate_location"),
            roles=("check",),
        ),
        Case(
            "no CA file",
            locked_kafka.scram("intruder", ssl_ca_location="/nowhere/ca.pem"),
            ("kafka.ssl_ca_location: /nowhere/ca.pem: No such file",),
            roles=("worker",),
            code=2,
        ),
        Case(
            "wrong key password",
            locked_kafka.mtls("mtls-worker", ssl_key_password="wrong"),
            ("kafka.ssl_key_password", "does not open"),
            roles=("trends",),
            code=2,
        ),
        Case(
            "no key password",
            {k: v for k, v in locked_kafka.mtls("mtls-worker").items() if not k.endswith("KEY_PASSWORD")},
            ("kafka.ssl_key_password", "is encrypted"),
            roles=("check",),
            code=2,
        ),
    ]


LACKING = {
    "worker": (
        "topic:tweets",
        "topic:emotion-labels",
        "topic:emotion-dead-letters",
        "group:moodstream-worker",
        "transactional-id:moodstream-worker-",
    ),
    "trends": ("topic:emotion-labels", "group:moodstream-trends"),
    "check": ("topic:tweets",),
    "create": ("topic:tweets",),
}


def lacking(locked_kafka: LockedKafka) -> list[Case]:
    """Users who may do all that their role needs but one thing."""
    cases = []
    for role, resources in LACKING.items():
        for number, resource in enumerate(resources):
            user = f"{role}-lacks-{number}"
            locked_kafka.kafka.user(user, KAFKA_PASSWORD)
            printed = commands(least(role, Settings()), f"User:{user}", "kafka:9092")
            locked_kafka.kafka.allow([acl for about, acl in acls(printed) if about != resource])
            kind, _, name = resource.partition(":")
            told = ("uthorization", f"User:{user} lacks an ACL", "moodstream topics acls")
            named = (name,) if kind == "topic" else ()
            cases.append(Case(resource, locked_kafka.scram(user), (*told, *named), roles=(role,)))
    return cases


@pytest.fixture(scope="module")
def ended(locked_kafka: LockedKafka) -> Iterator[list[tuple[Case, str, Future[Ended]]]]:
    """Every case and command, under way: what waits for a broker's answer waits together."""
    unused = {
        "MOODSTREAM_MODEL__BACKEND": "null",
        "MOODSTREAM_WORKER__HTTP__PORT": "0",
        "MOODSTREAM_TRENDS__HTTP__PORT": "0",
        "MOODSTREAM_REDIS__URL": "redis://127.0.0.1:1/0",
    }
    pool = ThreadPoolExecutor(AT_ONCE)
    yield [
        (case, role, pool.submit(moodstream, COMMANDS[role], unused | case.settings))
        for case in [*refused(locked_kafka), *lacking(locked_kafka)]
        for role in case.roles
    ]
    pool.shutdown(cancel_futures=True)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_who_is_refused_is_told_why_and_what_to_do(ended: Sequence[tuple[Case, str, Future[Ended]]]) -> None:
    wrong = []
    for case, role, future in ended:
        try:
            end = future.result()
        except subprocess.TimeoutExpired as hung:
            wrong.append(f"{case.name}, {role}: did not end:\n{(hung.stderr or b'')[-2000:]!r}")
            continue
        missing = [word for word in case.told if word not in end.last_line]
        if end.code != case.code or missing or "Traceback" in end.output:
            wrong.append(f"{case.name}, {role}: {end.code}, lacks {missing}:\n{end.output[-2000:]}")
        shown = [secret for secret in SECRETS if secret in end.output]
        wrong.extend(f"{case.name}, {role}: shows {secret}" for secret in shown)
    assert not wrong, "\n\n".join(wrong)
    assert len(ended) > 20
