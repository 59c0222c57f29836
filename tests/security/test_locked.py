"""Everything locked: what docs/security.md lets each role do is enough, and no secret is ever shown."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import httpx
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer

from tests.security.conftest import PARTITIONS
from tests.support.command import Ended, moodstream
from tests.support.roles import RoleProcess
from tests.support.security import (
    KAFKA_PASSWORD,
    SECRETS,
    TOKEN,
    LockedKafka,
    LockedRedis,
    acls,
    environment,
    pasted,
)
from tests.support.waiting import eventually
from worker.cli import cli, main
from worker.configuration import load
from worker.stream.connection import librdkafka

POSTS, BAD = 200, 3


def acl_lines(*arguments: str) -> list[str]:
    """What `moodstream topics acls` prints, without its headings."""
    printed = CliRunner().invoke(cli, ["topics", "acls", *arguments], catch_exceptions=False).stdout
    return [line for line in printed.splitlines() if not line.startswith("#")]


def test_the_page_says_what_the_command_prints() -> None:
    printed = acl_lines("--bootstrap", "kafka-1:9093")
    assert pasted("moodstream topics acls") == printed
    as_json = json.loads(
        CliRunner().invoke(cli, ["topics", "acls", "trends", "--principal=User:me", "--json"]).stdout
    )
    assert as_json["trends"]["principal"] == "User:me"
    assert as_json["trends"]["acls"][0] == {
        "operation": "Read",
        "resource": "topic",
        "names": ["emotion-labels"],
        "pattern": "literal",
    }


class Running(NamedTuple):
    """Two of each role, one let in by password and one by certificate; what each command said before."""

    roles: Mapping[str, RoleProcess]
    said: list[Ended]
    said_by_roles: list[str]

    def output(self) -> str:
        """All that was ever written to standard output and error, and answered over HTTP."""
        return "\n".join(
            [
                *(end.output for end in self.said),
                *(role.log for role in self.roles.values()),
                *self.said_by_roles,
            ]
        )


@pytest.fixture(scope="module")
def running(
    granted: LockedKafka, locked_redis: LockedRedis, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Running]:
    by_certificate = {role: granted.mtls(f"mtls-{role}") for role in ("worker", "trends")}
    for role in by_certificate:
        lines = acl_lines(role, f"--principal=User:mtls-{role}")
        granted.kafka.allow([acl for _, acl in acls(lines)])
    common = {
        **locked_redis.settings(),
        **environment("log", level="debug"),
        **environment("model", backend="null"),
        **environment("topics", partitions=PARTITIONS),
        **environment("worker", session_timeout_ms=6000),
        **environment("trends", session_timeout_ms=6000),
        "MOODSTREAM_WORKER__HTTP__TOKEN": TOKEN,
        "MOODSTREAM_TRENDS__HTTP__TOKEN": TOKEN,
    }
    said = [
        moodstream(["topics", what, *more, "--json"], common | granted.scram(f"moodstream-{what}"))
        for what, *more in (("create", "--allow-deletion"), ("check",))
    ]
    folder = tmp_path_factory.mktemp("roles")
    roles = {
        f"{role}-{how}": RoleProcess(role, folder / f"{role}-{how}.log", common | who)
        for role in ("worker", "trends")
        for how, who in (
            ("password", granted.scram(f"moodstream-{role}")),
            ("certificate", by_certificate[role]),
        )
    }
    quality = common | granted.scram("moodstream-quality")
    roles["quality-password"] = RoleProcess("quality", folder / "quality.log", quality)
    try:
        for process in roles.values():
            process.start()
        yield Running(roles, said, [])
    finally:
        for process in roles.values():
            process.kill()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_the_least_acls_are_enough(running: Running, granted: LockedKafka, locked_redis: LockedRedis) -> None:
    created, checked = running.said
    assert (created.code, checked.code) == (0, 0), created.output + checked.output
    assert json.loads(created.stdout)["created"] == ["emotion-alerts"]
    whats = {change["what"] for change in json.loads(created.stdout)["changed"]}
    assert {"partitions", "max.message.bytes"} <= whats

    eventually(lambda: all(role.ready() for role in running.roles.values()), within_s=60)
    send(granted)

    def published(role: str) -> float:
        return running.roles[role].metric("moodstream_records_published_total")

    workers = [name for name in running.roles if name.startswith("worker")]
    eventually(lambda: sum(map(published, workers)) == POSTS + BAD, within_s=60)
    assert all(published(role) > 0 for role in workers), "each of them must have had a partition"
    trends = ("trends-password", "trends-certificate")
    eventually(lambda: all(counted(running.roles[role]) == POSTS for role in trends), within_s=60)
    for role in trends:
        assert running.roles[role].metric("moodstream_trends_labels_applied_total") > 0

    correct(running.roles["trends-password"])
    quality = running.roles["quality-password"]
    eventually(lambda: (judged(quality, "applied"), judged(quality, "dead_letter")) == (1, 1), within_s=60)

    operator = granted.scram("moodstream-operator")
    model = json.loads(moodstream(["control", "show", "--json"], operator).stdout)["workers"][0]["model"]
    promoted = moodstream(["model", "promote", model, "--json"], operator)
    assert promoted.code == 0, promoted.output
    assert len(json.loads(promoted.stdout)["serving"]) == 2
    inspected = moodstream(["topics", "inspect", "--json"], granted.scram("moodstream-inspect"))
    redriven = moodstream(["topics", "redrive", "--json"], granted.scram("moodstream-redrive"))
    rebuilt = moodstream(["trends", "rebuild", "--json"], locked_redis.settings())
    who = {
        **granted.scram("moodstream-backfill"),
        **locked_redis.settings(),
        **environment("model", backend="null"),
        **environment("topics", partitions=PARTITIONS),
    }
    backfilled = [
        moodstream(["backfill", *words, "--json"], who)
        for words in (
            ("run", "new-year", "--from", "2026-01-01", "--to", "2026-01-02"),
            ("swap", "new-year"),
            ("swap", "new-year", "--undo"),
            ("remove", "new-year"),
        )
    ]
    for end in (inspected, redriven, rebuilt, *backfilled):
        assert end.code == 0, end.output
    assert json.loads(backfilled[0].stdout)["n"] == POSTS
    eventually(lambda: sum(map(published, workers)) == POSTS + 2 * BAD, within_s=60)
    eventually(lambda: counted(running.roles["trends-password"]) == POSTS, within_s=30)
    running.said.extend([promoted, inspected, redriven, rebuilt, *backfilled])


def send(kafka: LockedKafka) -> None:
    """Posts and some records that are none, by whoever may only write to the input topics."""
    settings = load(env=kafka.scram("moodstream-source")).kafka
    producer = Producer(librdkafka(settings))
    for number in range(POSTS):
        post = {"id": number, "text": "so happy today", "created_at": "2026-01-01T12:00:00Z"}
        producer.produce("tweets", json.dumps(post).encode(), str(number).encode())
    for number in range(BAD):
        producer.produce("feedback", b"not a post", str(number).encode())
    assert producer.flush(20) == 0


def correct(trends: RoleProcess) -> None:
    """A correction of a label, and one of none, by whoever knows the token."""
    sampled = trends.get("/api/samples", **{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"})
    sample = sampled.json()["data"]["samples"][0]
    for ref in (sample["label_ref"], "emotion-labels/0/9999999"):
        answer = httpx.post(
            f"http://127.0.0.1:{trends.port}/api/corrections",
            json={"id": sample["id"], "label": "love", "label_ref": ref},
            headers={"Authorization": f"Bearer {TOKEN}"},
        )
        assert answer.is_success, answer.text


def judged(quality: RoleProcess, outcome: str) -> float:
    return quality.metric("moodstream_quality_corrections_total", outcome=outcome)


def counted(trends: RoleProcess) -> int:
    answer = trends.get("/api/trends", **{"from": "2026-01-01T00:00:00Z", "to": "2026-01-02T00:00:00Z"})
    return int(answer.json()["data"]["n"]) if answer.is_success else -1


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_secrets_are_shown_nowhere(
    running: Running,
    granted: LockedKafka,
    locked_redis: LockedRedis,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    everything = {
        **granted.scram("moodstream-trends"),
        **{name: value for name, value in granted.mtls("mtls-trends").items() if "SSL_" in name},
        **locked_redis.settings(),
        "MOODSTREAM_WORKER__HTTP__TOKEN": TOKEN,
        "MOODSTREAM_TRENDS__HTTP__TOKEN": TOKEN,
        "MOODSTREAM_LOG__LEVEL": "debug",
    }
    said = [
        here(monkeypatch, capsys, everything, command)
        for command in (
            ["config"],
            ["config", "--json"],
            ["topics", "check", "--set", "kafka.bootstrap_servers=127.0.0.1:1", "--wait", "0"],
            ["trends", "rebuild", "--set", "redis.url=rediss://127.0.0.1:1/0"],
            ["worker", "--set", "kafka.sasl_mechanism=SCRAM"],
            ["trends", "--set", f"redis.url=redis://user:{SECRETS[2]}@127.0.0.1/0"],
            ["trends", "--set", f"trends.http.token= {TOKEN}"],
            ["trends", "--set", f"kafka.sasl_passwort={KAFKA_PASSWORD}"],
        )
    ]
    said.append(moodstream(["worker", "--set", "kafka.ssl_ca_location=/nowhere"], everything))
    assert [end.code for end in said] == [0, 0, 3, 3, 2, 2, 2, 2, 2]
    assert said[0].stdout.count("**********") == len(SECRETS) + 1
    running.said.extend(said)
    for role in running.roles.values():
        running.said_by_roles.extend(answers(role))
        role.stop()

    shown = running.output()
    assert len(shown) > 20_000
    assert "Traceback" not in shown
    assert [secret for secret in SECRETS if secret in shown] == []


def here(
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    settings: Mapping[str, str],
    arguments: list[str],
) -> Ended:
    """A command that ends soon, without the second that a process of its own takes to start."""
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr("sys.argv", ["moodstream", *arguments])
    code = 0
    try:
        main()
    except SystemExit as end:
        code = int(end.code or 0)
    shown = capsys.readouterr()
    return Ended(code, shown.out, shown.err)


def answers(role: RoleProcess) -> Iterator[str]:
    """What a role answers on every path that it has, and on some that it has not, to who knows the token."""
    base, headers = f"http://127.0.0.1:{role.port}", {"Authorization": f"Bearer {TOKEN}"}
    described = httpx.get(f"{base}/openapi.json").json()["paths"]
    asked = [(method.upper(), path) for path, methods in described.items() for method in methods]
    asked += [
        ("GET", path) for path in ("/metrics", "/openapi.json", "/livez", "/readyz", "/nowhere", "/docs")
    ]
    asked += [("POST", "/metrics"), ("GET", "/api/trends?step=x"), ("GET", f"/api/trends?token={TOKEN}")]
    for method, path in asked:
        if path == "/api/live":
            continue  # a stream without end
        answer = httpx.request(method, base + path, headers=headers, timeout=10)
        yield f"{answer.status_code} {answer.headers} {answer.text}"
    garbage = httpx.get(base + "/metrics", headers={"X": "x" * 20_000, **headers})
    yield f"{garbage.status_code} {garbage.headers} {garbage.text}"
