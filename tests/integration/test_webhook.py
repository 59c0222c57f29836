"""Webhooks into a real Kafka: what is answered with 202 is in the topic, and nothing else is."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest

from tests.support.command import moodstream
from tests.support.kafka import KafkaUnderTest
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from tests.unit.test_hooks import SECRET, headers_of
from worker.local.kafka import RealKafka
from worker.sources.hooks import Signature
from worker.stream.decode import decode
from worker.types import Post, Record

HOOKS = """
[hooks.desk]
signature = "zendesk"
secret_env = "DESK_SECRET"
topic = "{topic}"
[hooks.desk.fields]
id = "ticket.id"
text = ["ticket.subject", "ticket.description"]
author_id = "ticket.who"

[hooks.own]
signature = "hex"
secret_env = "DESK_SECRET"
topic = "{topic}"
"""


def role_of(bootstrap: str, topic: str, folder: Path) -> RoleProcess:
    path = folder / "hooks.toml"
    path.write_text(HOOKS.format(topic=topic))
    return RoleProcess(
        "source",
        folder / "source.log",
        {
            "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": bootstrap,
            "MOODSTREAM_TOPICS__INPUTS": topic,
            "DESK_SECRET": SECRET,
        },
        arguments=["webhook", "--hooks", str(path)],
    )


def sent(
    role: RoleProcess, name: str, body: bytes, signature: Signature, secret: str = SECRET
) -> httpx.Response:
    return httpx.post(
        f"http://127.0.0.1:{role.port}/hooks/{name}",
        content=body,
        headers=headers_of(signature, body, secret),
        timeout=20,
    )


@pytest.mark.slow
def test_what_is_taken_is_in_the_topic(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    topic = kafka.topic("feedback", partitions=3)
    role = role_of(kafka.bootstrap, topic, tmp_path)
    role.start()
    try:
        eventually(role.ready, within_s=20)
        ticket = json.dumps(
            {"ticket": {"id": 7, "subject": "Late", "description": "<b>", "who": "ada"}}
        ).encode()
        plain = b'{"id": "x", "text": "lovely"}'
        assert sent(role, "desk", ticket, Signature.ZENDESK).status_code == 202
        answer = sent(role, "own", plain, Signature.HEX)
        assert (answer.status_code, answer.json()["data"]["ref"].split("/")[0]) == (202, topic)
        assert sent(role, "own", b"no json", Signature.HEX).status_code == 202
        refused = sent(role, "desk", ticket, Signature.ZENDESK, "another secret of some length")
        assert (refused.status_code, refused.json()["errorType"]) == (401, "unauthorized")
        assert sent(role, "desk", ticket, Signature.HEX).status_code == 401
        assert sent(role, "none", ticket, Signature.HEX).status_code == 404
        assert sent(role, "own", b" " * 70_000, Signature.HEX).status_code == 413
        messages = kafka.read_all(topic)
        values = {message.key(): message.value() for message in messages}
        assert len(messages) == 3
        assert json.loads(values[b"ada"] or b"") == {
            "id": 7, "text": "Late\n<b>", "author_id": "ada", "source": "desk",
        }  # fmt: skip
        assert values[b"x"] == plain
        assert values[None] == b"no json"
        assert isinstance(decode(Record("t", 0, 0, b"ada", values[b"ada"], 0)), Post)
        assert [
            role.metric("moodstream_source_items_total", feed=feed, outcome=outcome)
            for feed, outcome in (
                ("own", "sent"),
                ("own", "unreadable"),
                ("desk", "sent"),
                ("desk", "refused"),
            )
        ] == [2, 1, 1, 2]
        assert role.stop() == 0
        assert SECRET not in role.log
        assert "lovely" not in role.log
    finally:
        role.kill()


@pytest.mark.slow
def test_a_kafka_that_goes_away_is_said_and_waited_for(tmp_path: Path) -> None:
    body = b'{"id": 1, "text": "x"}'
    with RealKafka() as kafka:
        topic = KafkaUnderTest(kafka.bootstrap).topic("feedback")
        role = role_of(kafka.bootstrap, topic, tmp_path)
        role.start()
        try:
            eventually(role.ready, within_s=20)
            kafka.kill()
            away = sent(role, "own", body, Signature.HEX)
            assert (away.status_code, away.headers["Retry-After"]) == (503, "5")
            eventually(lambda: not role.ready(), within_s=20)
            kafka.start()
            eventually(role.ready, within_s=40)
            assert sent(role, "own", body, Signature.HEX).status_code == 202
            assert role.stop() == 0
        finally:
            role.kill()


def test_what_cannot_start_says_so(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    role_of(kafka.bootstrap, "nowhere", tmp_path)
    settings = {"MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap, "MOODSTREAM_SOURCE__HTTP__PORT": "0"}
    arguments = ["source", "webhook", "--hooks", str(tmp_path / "hooks.toml")]
    wrong = moodstream(arguments, settings)
    assert wrong.code == 2
    assert "no environment variable DESK_SECRET" in wrong.output
    assert "nowhere is none of topics.inputs" in wrong.output
    missing = moodstream(
        arguments, settings | {"DESK_SECRET": SECRET, "MOODSTREAM_TOPICS__INPUTS": "nowhere"}
    )
    assert missing.code == 2
    assert "there is no topic nowhere: `moodstream topics create` makes it" in missing.output
