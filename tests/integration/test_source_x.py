"""X's filtered stream into a real Kafka: what comes twice is written once, rules agree, bad input is kept."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.support.command import moodstream
from tests.support.kafka import KafkaUnderTest
from tests.support.streaming import Breaks
from tests.support.waiting import eventually
from tests.support.x_stream import XStream, post
from worker.clock import ManualClock, SystemClock
from worker.configuration import load, shown
from worker.errors import ConfigurationError, DependencyError
from worker.settings import Settings
from worker.sources.api import Api
from worker.sources.edges import Around, Item
from worker.sources.forward import Forward
from worker.sources.outlet import Outlet
from worker.sources.timing import Timing
from worker.sources.window import Window
from worker.sources.x import XFeed
from worker.sources.x_rules import Rule, read_rules
from worker.stream.decode import decode
from worker.types import Post, Record

EVERY, UNSEEN, BREAKS, N = 15, 4, 20, 450
END = post(N, "the end")


def secret() -> Any:
    return load({"source.x.token": "hush"}, env={}).source.x.token


def feed(server: XStream, around: Around, window: Window | None = None, **more: Any) -> XFeed:
    rules: Sequence[Rule] | None = more.pop("rules", None)
    return XFeed(Api(server.url, secret()), rules, window or Window(10_000), around, **more)


def passing() -> list[bytes]:
    """Posts, some of them twice, lines that are no posts, and errors that come with and without a post."""
    lines: list[bytes] = []
    for number in range(N):
        line = post(number, f"post {number}")
        if number % 15 == 4:
            line = b'{"data": {"id": broken %d' % number
        elif number % 15 == 6:
            line = json.dumps({"errors": [{"title": "Partial outage", "detail": str(number)}]}).encode()
        elif number % 15 == 8:
            line = post(number, f"post {number}", errors=[{"title": "Not Found Error"}])
        elif number % 15 == 10:
            line = post(number - 3, f"post {number - 3}")
        lines.append(line)
    return [*lines, END]


def settings_of(kafka: KafkaUnderTest) -> Settings:
    return load(flags={"kafka.bootstrap_servers": kafka.bootstrap}, env={})


@pytest.mark.parametrize("minutes", [0, 5])
def test_20_breaks_double_nothing(kafka: KafkaUnderTest, minutes: int) -> None:
    """Each post that X brings once. With a backfill that is all; without, not what passes in a break."""
    topic, counts, last = kafka.topic("tweets", partitions=3), Counter[str](), list[bytes | None]()
    given = Around(SystemClock(), threading.Event(), counted=lambda outcome: counts.update([outcome]))
    outlet = Outlet(settings_of(kafka), topic, f"x-{minutes}", wait_s=20, clock=given.clock)
    forward = Forward(
        outlet, Timing(given.clock), given.clock, given.stop, told=lambda item, _: last.append(item.value)
    )
    lines = passing()
    with XStream(lines, breaks=Breaks(EVERY, UNSEEN, BREAKS)) as server:
        source = feed(server, given, backfill_minutes=minutes)
        running = threading.Thread(target=forward.run, args=(source, outlet.open()))
        running.start()
        try:
            eventually(lambda: END in last, within_s=60)
        finally:
            given.stop.set()
            running.join()
            outlet.close()
    assert server.connections == BREAKS + 1
    brought = [line for line in lines if line in server.seen]
    assert (len(brought) == len(lines)) == bool(minutes)
    got = [message.value() or b"" for message in kafka.read_all(topic)]
    posts = [line for line in got if b"broken" not in line]
    assert Counter(posts) == Counter({line for line in brought if b'"data": {"id": "' in line})
    # What has no id cannot be recognised: a backfill brings it again, and all of it is kept.
    assert {line for line in got if b"broken" in line} == {line for line in brought if b"broken" in line}
    assert counts["duplicate"] > 0
    assert counts["error"] >= sum(b"Partial outage" in line for line in brought) + BREAKS // 3
    first = decode(Record("t", 0, 0, None, posts[0], 0))
    assert isinstance(first, Post)
    assert (first.source, first.lang) == ("x", "en")
    assert {query["tweet.fields"] for query in server.queries} == {
        "created_at,lang,author_id,in_reply_to_user_id"
    }


def first(source: XFeed, stop: threading.Event) -> Item:
    given = source.items(None)
    item = next(item for item in given if item is not None)
    stop.set()
    given.close()
    return item


def test_failures_are_waited_for_as_x_asks() -> None:
    clock, stop = ManualClock(1_777_000_000.0), threading.Event()
    refusals: list[tuple[int, Mapping[str, str]]] = [
        (503, {}),
        (500, {}),
        (429, {}),
        (429, {"x-rate-limit-reset": "1777000500", "x-rate-limit-remaining": "0"}),
    ]
    with XStream([post(1, "hi")], refusals=refusals) as server:
        assert first(feed(server, Around(clock, stop)), stop).value == post(1, "hi")
    assert clock.now == pytest.approx(1_777_000_501.0)  # the moment that the header names, and a second


def test_a_silent_connection_is_broken() -> None:
    stop = threading.Event()
    why: list[str] = []

    def told(up: bool, reason: str) -> None:
        why.extend([] if up else [reason])

    with XStream([post(1, "hi")], dead=1) as server:
        item = first(feed(server, Around(SystemClock(), stop, told), silent_s=0.2), stop)
    assert item.value == post(1, "hi")
    assert "ReadTimeoutError" in why[0]


@pytest.mark.parametrize(("status", "told"), [(401, "source.x.token"), (403, "access level"), (409, "rules")])
def test_a_refusal_ends_it(status: int, told: str) -> None:
    with (
        XStream([], refusals=[(status, {})]) as server,
        pytest.raises(DependencyError, match=f"answers {status}: .*{told}"),
    ):
        next(feed(server, Around(SystemClock(), threading.Event())).items(None))


OTHERS = {"id": "1", "value": "dogs", "tag": "of somebody else"}
THERE = [
    OTHERS,
    {"id": "2", "value": "old", "tag": "moodstream/x/old"},
    {"id": "3", "value": "renamed", "tag": "moodstream/x/before"},
    {"id": "4", "value": "kept", "tag": "moodstream/x/kept"},
    {"id": "5", "value": "kept elsewhere", "tag": "moodstream/other/kept"},
    {"id": "6", "value": "untagged"},
]


def test_the_rules_of_the_server_become_those_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "rules.toml"
    path.write_text('[rules]\nkept = "kept"\nnow = "renamed"\nnew = "(a OR b)"\ndogs = "dogs"\n')
    stop = threading.Event()
    with XStream([post(1, "hi")], rules=THERE) as server:
        first(feed(server, Around(SystemClock(), stop), rules=read_rules(path, "x")), stop)
        after = {(rule["value"], rule.get("tag")) for rule in server.rules}
        deleted, added = server.changes
    assert after == {
        ("dogs", "of somebody else"),
        ("kept", "moodstream/x/kept"),
        ("renamed", "moodstream/x/now"),
        ("(a OR b)", "moodstream/x/new"),
        ("kept elsewhere", "moodstream/other/kept"),
        ("untagged", None),
    }
    assert deleted == {"delete": {"ids": ["2", "3"]}}
    assert [rule["value"] for rule in added["add"]] == ["renamed", "(a OR b)"]


def test_without_a_file_rules_stay_as_they_are() -> None:
    stop = threading.Event()
    with XStream([post(1, "hi")], rules=THERE) as server:
        first(feed(server, Around(SystemClock(), stop)), stop)
        assert server.changes == []


@pytest.mark.parametrize(
    ("rules", "there", "told"),
    [
        ([Rule("(a", "moodstream/x/a")], [OTHERS], r"X refuses \(a: missing '\)'"),
        (None, [], "X has no rules"),
        ([], [{"id": "1", "value": "a", "tag": "moodstream/x/a"}], "X has no rules"),
    ],
)
def test_rules_that_bring_nothing_end_it(
    rules: list[Rule] | None, there: list[dict[str, str]], told: str
) -> None:
    with XStream([], rules=there) as server, pytest.raises(ConfigurationError, match=told):
        next(feed(server, Around(SystemClock(), threading.Event()), rules=rules).items(None))


@pytest.mark.parametrize(
    ("written", "told"),
    [
        ("rules = 3", "Expected `object`"),
        ('[rules]\na = " "', "rules.a: it is empty"),
        ('[rules]\na = "x"\nb = "x"', "twice in it: x"),
        ("[rules", "rules.toml: "),
    ],
)
def test_a_file_of_rules_that_is_none(tmp_path: Path, written: str, told: str) -> None:
    path = tmp_path / "rules.toml"
    path.write_text(written)
    with pytest.raises(ConfigurationError) as caught:
        read_rules(path, "x")
    assert told in str(caught.value)
    assert "source.x.rules_file" in str(caught.value)


def test_without_a_token_it_says_which_setting() -> None:
    ended = moodstream(["source", "x"], {})
    assert ended.code == 2
    assert "source.x.token (MOODSTREAM_SOURCE__X__TOKEN)" in ended.output


def test_a_token_is_never_shown() -> None:
    with pytest.raises(ConfigurationError) as caught:
        load({"source.x.token": "hush hush\n"}, env={})
    assert "source.x.token (MOODSTREAM_SOURCE__X__TOKEN): a bearer token" in str(caught.value)
    assert "hush" not in str(caught.value)
    for name in ("x", "mastodon"):
        assert shown(load({f"source.{name}.token": "hush"}, env={}))["source"][name]["token"] == "**********"
