"""The roles of Mastodon and X, killed amid what streams bring: each post is in the topic once."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from confluent_kafka import Message

from tests.support.kafka import KafkaUnderTest
from tests.support.mastodon import Mastodon, status
from tests.support.roles import RoleProcess
from tests.support.streaming import Breaks
from tests.support.waiting import eventually
from tests.support.x_stream import XStream, post

N = 450
ITEMS = "moodstream_source_items_total"


def start(roles: Sequence[RoleProcess]) -> None:
    with ThreadPoolExecutor() as pool:
        list(pool.map(RoleProcess.start, roles))


@pytest.mark.slow
def test_a_kill_loses_and_doubles_nothing(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    """Both are killed once something of theirs is in the topic, and before all is."""
    topic, token = kafka.topic("tweets", partitions=3), "hush-hush"
    base = int(time.time() - 60) * 1000
    statuses = [status((base + 50 * number) << 16 | number, f"words {number}") for number in range(N)]
    lines = [post(number, f"words {number}") for number in range(N)]
    rules = tmp_path / "rules.toml"
    rules.write_text('[rules]\nphones = "(iphone OR pixel) -is:retweet"\n')
    breaks = Breaks(every=15, unseen=4, times=20, hold=9)
    with (
        Mastodon(statuses, token=token, breaks=breaks) as server,
        XStream(lines, token=token, breaks=breaks) as x_server,
    ):
        settings = {
            "KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "SOURCE__MASTODON__SERVER": server.url,
            "SOURCE__MASTODON__TOKEN": token,
            "SOURCE__X__SERVER": x_server.url,
            "SOURCE__X__TOKEN": token,
            "SOURCE__X__RULES_FILE": str(rules),
            "SOURCE__X__BACKFILL_MINUTES": "5",
        }
        environment = {f"MOODSTREAM_{name}": value for name, value in settings.items()}
        commands = (["mastodon", "--lang", "en", "--local"], ["x"])
        roles = [
            RoleProcess(
                "source", tmp_path / f"{command[0]}.log", environment, arguments=[*command, "--topic", topic]
            )
            for command in commands
        ]
        try:
            start(roles)
            eventually(lambda: all(role.metric(ITEMS, outcome="sent") > 0 for role in roles), within_s=120)
            for role in roles:
                role.kill()
            assert not server.is_over
            assert not x_server.is_over
            server.release.set()
            x_server.release.set()
            start(roles)

            def all_of_it() -> list[Message]:
                """Behind the last of each nothing else comes."""
                messages = kafka.read_all(topic)
                return messages if {statuses[-1].data, lines[-1]} <= {m.value() for m in messages} else []

            eventually(lambda: server.is_over and x_server.is_over, within_s=60)
            messages = eventually(all_of_it, within_s=60)
            for role, (name, *_) in zip(roles, commands, strict=True):
                assert role.ready()
                assert role.metric(ITEMS, feed=name, outcome="duplicate") > 0
                assert role.metric("moodstream_dependency_up", dependency=name) == 1
                assert role.metric("moodstream_dependency_retries_total", dependency=name) > 0
                assert role.stop() == 0
                assert token not in role.log
                assert "words 4" not in role.log
        finally:
            for role in roles:
                role.kill()
    assert Counter(message.value() for message in messages) == Counter([one.data for one in statuses] + lines)
    host = server.url.removeprefix("http://")
    assert {message.key() for message in messages} == {
        *(f"{host}/{one.id}".encode() for one in statuses),
        *(json.loads(line)["data"]["id"].encode() for line in lines),
    }
    assert server.asked[0] == "/api/v1/streaming/public/local"
    assert any(path.startswith("/api/v1/timelines/public?local=true&") for path in server.asked)
    assert {rule["tag"] for rule in x_server.rules} == {"of somebody else", "moodstream/x/phones"}
    assert len(x_server.changes) == 1  # the second start has found its rule there
