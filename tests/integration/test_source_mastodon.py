"""Mastodon into a real Kafka: what breaks cost is fetched, nothing is lost or doubled, bad input is kept."""

from __future__ import annotations

import json
import threading
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any

import pytest
from click.testing import CliRunner
from confluent_kafka import Message

from tests.support.kafka import KafkaUnderTest
from tests.support.mastodon import Happening, Mastodon, deleted, edited, status
from tests.support.streaming import Breaks
from tests.support.waiting import eventually
from worker.cli import cli
from worker.clock import ManualClock, SystemClock
from worker.configuration import load
from worker.errors import ConfigurationError, DependencyError
from worker.sources.api import Api
from worker.sources.edges import Around, Item
from worker.sources.forward import Forward
from worker.sources.mastodon import Apis, Asked, MastodonFeed
from worker.sources.outlet import Outlet
from worker.sources.statuses import cursor_at
from worker.sources.timing import Timing
from worker.sources.window import Window
from worker.stream.decode import Deletion, decode
from worker.types import Post, Record

EVERY, UNSEEN, BREAKS = 12, 8, 20
CYCLE = EVERY + UNSEEN
UNHEARD = EVERY + 5
"""Of each cycle, the place of a deletion that a break hides."""
N = CYCLE * BREAKS + 40
ENGLISH = Asked(langs=frozenset({"en"}))


class Plan:
    """What happens, and what must come of it: streams bring `EVERY` each, `UNSEEN` pass between two."""

    def __init__(self) -> None:
        self._base = int(time.time() - 60) * 1000
        self.happenings: list[Happening] = []
        self.posts: list[bytes] = []
        """To be written once each."""
        self.unreadable: list[bytes] = []
        self.edited: dict[int, bytes] = {}
        """By id, what was said before."""
        self.edits: dict[int, bytes] = {}
        """By id, what is said now."""
        self.deletions: list[int] = []
        for number in range(N):
            self._add(number)
        self.end = self._id(N)
        """What the stream brings last is the deletion of it."""
        self.happenings += [status(self.end, "the end"), deleted(self.end)]
        self.posts.append(self.happenings[-2].data)
        self.deletions.append(self.end)

    def _id(self, number: int) -> int:
        """Milliseconds and a sequence, as Mastodon makes them; some come ten seconds late."""
        late_ms = 10_000 if number % CYCLE in (3, EVERY + 3) else 0
        return (self._base + number * 50 - late_ms) << 16 | number

    def _add(self, number: int) -> None:
        place, number_id = number % CYCLE, self._id(number)
        new = self._unwanted(number) or self._behind(number) or status(number_id, f"post {number}")
        if place == 6:
            self.unreadable.append(new.data)
        elif place == 10:
            new = new._replace(twice=True)
        if place == 1:
            self.edited[number_id] = new.data
        elif new.name == "update" and place not in (2, 4, 5, 6):
            self.posts.append(new.data)
        self.happenings.append(new)

    def _unwanted(self, number: int) -> Happening | None:
        """Of another language, of somebody else, only a picture, broken, something else."""
        number_id = self._id(number)
        return {
            2: status(number_id, f"Beitrag {number}", language="de"),
            4: status(number_id, "", reblog={"id": "1", "content": "<p>of somebody else</p>"}),
            5: status(number_id, "<br>"),
            6: Happening("update", b'{"id": 17, "broken %d' % number),
            9: Happening("notification", b'{"id": "1"}'),
        }.get(number % CYCLE)

    def _behind(self, number: int) -> Happening | None:
        """What becomes of something before."""
        place, before = number % CYCLE, self._id(number - 7)
        if place == 8:
            said = edited(before, f"post {number - 7}, mended", f"2026-05-04T18:00:{number}Z")
            self.edits[before] = said.data
            return said
        if place == 7 or (place == UNHEARD and number >= CYCLE * BREAKS):
            self.deletions.append(before)
        return deleted(before) if place in (7, UNHEARD) else None


def feed(
    server: Mastodon, around: Around, asked: Asked = ENGLISH, window: Window | None = None, **more: Any
) -> MastodonFeed:
    api = Api(server.url, None)
    return MastodonFeed(Apis(api, api), asked, window or Window(10_000), around, **more)


def around(**more: Any) -> Around:
    return Around(SystemClock(), threading.Event(), **more)


def values(messages: list[Message]) -> list[bytes | None]:
    return [message.value() for message in messages]


def test_20_breaks_lose_and_double_nothing(kafka: KafkaUnderTest) -> None:
    """Each status once; deletions and edits that the stream has brought, in the order of their keys."""
    topic, plan, counts = kafka.topic("tweets", partitions=3), Plan(), Counter[str]()
    last = [b""]
    given = around(counted=lambda outcome: counts.update([outcome]))
    settings = load(flags={"kafka.bootstrap_servers": kafka.bootstrap}, env={})
    outlet = Outlet(settings, topic, "masto", wait_s=20, clock=given.clock)
    with Mastodon(plan.happenings, breaks=Breaks(EVERY, UNSEEN, BREAKS)) as server:
        source = feed(server, given, name="masto")
        forward = Forward(
            outlet,
            Timing(given.clock),
            given.clock,
            given.stop,
            told=lambda item, _: last.append(item.key or b""),
        )
        cursor = outlet.open()
        running = threading.Thread(target=forward.run, args=(source, cursor))
        running.start()
        try:
            eventually(lambda: last[-1].endswith(b"/%d" % plan.end), within_s=60)
        finally:
            given.stop.set()
            running.join()
            stored = outlet.open()
            outlet.close()
        assert server.connections == BREAKS + 1
        host = server.url.removeprefix("http://")
    got = kafka.read_all(topic)
    by_key: dict[bytes | None, list[bytes | None]] = {}
    for message in got:
        by_key.setdefault(message.key(), []).append(message.value())
    for number, said in plan.edits.items():
        # Where the timeline was asked behind the edit, it has told what is said now only.
        assert by_key.pop(f"{host}/{number}".encode()) in ([plan.edited[number], None, said], [said])
    for number in plan.deletions:
        assert by_key[f"{host}/{number}".encode()][1:] == [None]
    said_once = Counter(value for said in by_key.values() for value in said)
    assert said_once == Counter(plan.posts + plan.unreadable + [None] * len(plan.deletions))
    assert forward.sent.unreadable == len(plan.unreadable)
    assert counts["duplicate"] > BREAKS  # those brought twice, and what came by the stream and the timeline
    newest = max(int(one.id) for one in plan.happenings if one.name == "update" and one.id)
    assert stored == newest
    posts = [message for message in got if message.value() in set(plan.posts)]
    first = decode(Record("t", 0, 0, posts[0].key(), posts[0].value(), 0))
    assert isinstance(first, Post)
    assert first.text.startswith(("post", "twice"))
    assert isinstance(decode(Record("t", 0, 0, b"k", None, 0)), Deletion)


def taken(source: MastodonFeed, cursor: int | None, n: int, stop: threading.Event) -> list[Item]:
    given = source.items(cursor)
    items = [item for _, item in zip(range(n), written(given), strict=False)]
    stop.set()
    given.close()
    return items


def written(items: Iterator[Item | None]) -> Iterator[Item]:
    return (item for item in items if item is not None and item.written)


def test_many_pages_are_fetched_and_what_was_written_is_passed_over() -> None:
    base = int(time.time() - 60) * 1000
    numbers = [(base + 50 * number) << 16 for number in range(200)]
    happenings = [status(number, f"post {at}") for at, number in enumerate(numbers)]
    given, window = around(), Window(10_000)
    with Mastodon(happenings, before=199) as server:
        host = server.url.removeprefix("http://")
        for number in numbers[:30]:
            window.add(f"{host}/{number}".encode())
        source = feed(server, given, Asked(tag="moods"), window)
        items = taken(source, numbers[29], 170, given.stop)
        asked = server.asked
    assert [item.value for item in items] == [one.data for one in happenings[30:]]
    assert items[-1].cursor == numbers[-1]
    assert asked[0] == "/api/v1/streaming/hashtag?tag=moods"
    pages = [path for path in asked if path.startswith("/api/v1/timelines/tag/moods?limit=40&min_id=")]
    assert len(pages) == 5


def test_a_long_absence_is_fetched_only_in_part() -> None:
    now = time.time()
    old = [status(cursor_at(now - 7200 + at), f"old {at}") for at in range(5)]
    new = [status(cursor_at(now - 60 + at), f"new {at}") for at in range(5)]
    given = around()
    with Mastodon([*old, *new], before=10) as server:
        items = taken(feed(server, given), cursor_at(now - 7300), 5, given.stop)
    assert [item.value for item in items] == [one.data for one in new]


def test_other_servers_ids_are_no_cursors() -> None:
    given = around()
    value = json.dumps({"id": "9xYz", "content": "<p>hi</p>", "account": {"id": "a"}}).encode()
    with Mastodon([Happening("update", value, "1"), Happening("delete", b"9xYz", "1")]) as server:
        items = taken(feed(server, given, Asked()), None, 2, given.stop)
    assert [(item.cursor, item.deletes) for item in items] == [(None, False), (None, True)]
    assert items[0].key == items[1].key


def test_a_status_that_cannot_be_read_is_kept_with_its_key() -> None:
    given, now = around(), time.time()
    broken = json.dumps({"id": str(cursor_at(now - 1)), "content": 5, "account": {"id": "1"}}).encode()
    with Mastodon([Happening("update", broken, str(cursor_at(now - 1)))], before=1) as server:
        [item] = taken(feed(server, given), cursor_at(now - 2), 1, given.stop)
    assert (item.value, item.readable, item.cursor) == (broken, False, cursor_at(now - 1))


@pytest.mark.parametrize(
    ("answer", "headers", "told"),
    [
        (401, {}, "answers 401: check source.mastodon.token"),
        (301, {"Location": "https://elsewhere.example/x"}, "redirects to elsewhere.example"),
        (404, {}, "answers 404"),
    ],
)
def test_a_refusal_ends_it(answer: int, headers: dict[str, str], told: str) -> None:
    with (
        Mastodon([], refusals=[(answer, headers)]) as server,
        pytest.raises(DependencyError, match=told),
    ):
        next(feed(server, around()).items(None))


def test_a_server_that_asks_to_wait_is_waited_for() -> None:
    clock, stop = ManualClock(1_777_000_000.0), threading.Event()
    refusals = [
        (503, {}),
        (429, {"Retry-After": "70"}),
        (429, {"X-RateLimit-Reset": "2026-04-24T03:10:00.000000Z"}),
    ]
    with Mastodon([status(cursor_at(clock.now), "hi")], refusals=refusals) as server:
        items = taken(feed(server, Around(clock, stop)), None, 1, stop)
    assert len(items) == 1
    assert clock.now >= 1_777_000_000.0 + 70
    assert clock.now >= 1_777_000_200.0  # the moment that the header names


@pytest.mark.parametrize(
    ("arguments", "environment", "told"),
    [
        ([], {}, "source.mastodon.server (MOODSTREAM_SOURCE__MASTODON__SERVER)"),
        ([], {"MOODSTREAM_SOURCE__MASTODON__SERVER": "http://far.example"}, "source.mastodon.server ("),
        (["--tag", "a/b"], {"MOODSTREAM_SOURCE__MASTODON__SERVER": "https://a.example"}, "--tag a/b"),
    ],
)
def test_what_cannot_be_used_is_told(arguments: list[str], environment: dict[str, str], told: str) -> None:
    ended = CliRunner().invoke(cli, ["source", "mastodon", *arguments], env=environment)
    assert isinstance(ended.exception, ConfigurationError)
    assert told in str(ended.exception)
