"""Sources into a real Kafka: nothing lost or doubled over kills and disconnects, bad input kept."""

from __future__ import annotations

import gzip
import json
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from confluent_kafka import Message

from tests.support.command import moodstream
from tests.support.jetstream import Jetstream, deletion, identity, post
from tests.support.kafka import KafkaUnderTest, high_watermarks
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from worker.clock import SystemClock
from worker.configuration import load
from worker.errors import DataLossAvertedError, DependencyError
from worker.settings import Settings
from worker.sources.bluesky import BlueskyFeed
from worker.sources.edges import Item
from worker.sources.outlet import Outlet
from worker.stream.decode import Deletion, decode
from worker.types import Post, Record


def values(messages: list[Message]) -> list[bytes | None]:
    return [message.value() for message in messages]


def settings_of(kafka: KafkaUnderTest) -> Settings:
    return load(flags={"kafka.bootstrap_servers": kafka.bootstrap}, env={})


def send(kafka: KafkaUnderTest, topic: str, *arguments: str, stdin: str = "") -> dict[str, int]:
    ended = moodstream(
        ["send", *arguments, "--topic", topic, "--bootstrap", kafka.bootstrap, "--json"], {}, stdin=stdin
    )
    assert ended.code == 0, ended.output
    answer: dict[str, int] = json.loads(ended.stdout)
    return answer


def lines(folder: Path, n: int) -> Path:
    posts = [
        {"id": i, "text": f"post {i}", "author_id": f"a{i % 7}", "created_at": 1_777_000_000 + i}
        for i in range(n)
    ]
    path = folder / "posts.jsonl"
    path.write_text("".join(json.dumps(post) + "\n" for post in posts))
    return path


def test_a_file_is_sent_once_with_its_keys(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    topic, path = kafka.topic("tweets", partitions=3), lines(tmp_path, 500)
    with path.open("a") as file:
        file.write('\n{"id": "x"}\nnot json\n')
    assert send(kafka, topic, str(path))["sent"] == 502
    again = send(kafka, topic, str(path))
    assert (again["sent"], again["before"]) == (0, 503)
    sent = kafka.read_all(topic)
    assert Counter(values(sent)) == Counter(line for line in path.read_bytes().splitlines() if line)
    by_key: dict[bytes | None, list[int]] = {}
    for message in sent:
        if (value := message.value() or b"").startswith(b'{"id": ') and b"text" in value:
            by_key.setdefault(message.key(), []).append(json.loads(value)["id"])
    assert set(by_key) == {f"a{i}".encode() for i in range(7)}
    assert all(ids == sorted(ids) for ids in by_key.values())
    assert send(kafka, topic, str(path), "--again")["sent"] == 502


@pytest.mark.slow
def test_a_file_whose_sender_is_killed_is_sent_once(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    topic, path = kafka.topic("tweets", partitions=3), lines(tmp_path, 3000)
    command = [
        sys.executable, "-m", "worker", "send", str(path), "--topic", topic, "--bootstrap", kafka.bootstrap,
        "--rate", "800",
    ]  # fmt: skip
    rng = random.Random(5)
    for least in (300, 900, 1500):
        sender = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        eventually(partial(_more_than, kafka.bootstrap, topic, least), within_s=40)
        time.sleep(rng.uniform(0, 0.2))
        sender.send_signal(signal.SIGKILL)
        sender.wait()
    last = send(kafka, topic, str(path))
    assert last["before"] > 0
    assert last["before"] + last["sent"] == 3000
    ids = [json.loads(message.value() or b"")["id"] for message in kafka.read_all(topic)]
    assert sorted(ids) == list(range(3000))


def _more_than(bootstrap: str, topic: str, least: int) -> bool:
    return sum(high_watermarks(bootstrap, topic).values()) > least


def test_tables_text_gzip_and_pipes(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    topic = kafka.topic("tweets")
    table = tmp_path / "t.csv.gz"
    with gzip.open(table, "wt", encoding="utf-8-sig") as file:
        file.write('user,Tweet,created_at\r\nada,"two\nlines, one row",1777000000\r\n')
        file.write("bob,,2026-05-04T18:00:00Z\r\n")
    told = send(kafka, topic, str(table), "--column", "text=Tweet", "--column", "author_id=user")
    assert (told["sent"], told["unreadable"]) == (2, 1)
    first = json.loads(kafka.read_all(topic)[0].value() or b"")
    assert first["text"] == "two\nlines, one row"
    assert first["author_id"] == "ada"
    assert first["id"].startswith("t.csv.gz-")
    assert isinstance(decode(Record("t", 0, 0, None, json.dumps(first).encode(), 0)), Post)
    assert send(kafka, topic, "-", "--format", "text", stdin="hello\n\nyou\n")["sent"] == 2
    assert send(kafka, topic, "-", stdin='{"id":1,"text":"a"}\n')["sent"] == 1
    assert send(kafka, topic, "-", stdin='{"id":1,"text":"a"}\n')["sent"] == 1  # nothing is remembered of it


@pytest.mark.parametrize(
    ("name", "content", "more", "told"),
    [
        ("a.csv", b"user,body\n1,x\n", [], "there is no column text: --column text=NAME"),
        ("a.csv", b"user,text\n1,x\n", ["--column", "lang=language"], "no column 'language' for lang"),
        ("a.csv", b"text\nx\n", ["--column", "mood=x"], "a field of a post is one of author_id"),
        ("a.bin", b"x", [], "--format jsonl, csv, tsv or text"),
        ("a.jsonl.gz", gzip.compress(b"{}\n" * 1000, mtime=0)[:-12], [], "what came before it was sent"),
    ],
)
def test_files_that_cannot_be_read(
    kafka: KafkaUnderTest, tmp_path: Path, name: str, content: bytes, more: list[str], told: str
) -> None:
    topic = kafka.topic("tweets")
    path = tmp_path / name
    path.write_bytes(content)
    ended = moodstream(["send", str(path), *more, "--topic", topic, "--bootstrap", kafka.bootstrap], {})
    assert ended.code == 2
    assert told in ended.output
    missing = moodstream(["send", str(tmp_path / "none.csv"), "--bootstrap", kafka.bootstrap], {})
    assert (missing.code, "No such file" in missing.output) == (2, True)


def test_a_topic_that_is_not_there(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    path = lines(tmp_path, 1)
    ended = moodstream(["send", str(path), "--topic", "no-such-topic", "--bootstrap", kafka.bootstrap], {})
    assert ended.code == 2
    assert "moodstream topics create" in ended.output


def test_the_later_of_two_senders_goes_on(kafka: KafkaUnderTest) -> None:
    topic = kafka.topic("tweets")
    first, second = (
        Outlet(settings_of(kafka), topic, "twin", wait_s=10, clock=SystemClock()) for _ in range(2)
    )
    assert first.open() is None
    first.send([Item(b"1", cursor=1)])
    assert second.open() == 1
    with pytest.raises(DataLossAvertedError):
        first.send([Item(b"2", cursor=2)])
    second.send([Item(b"2", cursor=2)])
    assert second.open() == 2
    assert values(kafka.read_all(topic)) == [b"1", b"2"]
    first.close()
    second.close()


BREAKS = 20


def happened(n: int) -> list[tuple[int, bytes]]:
    """Posts, deletions, identities and other languages, with rising times; every 50th frame is no JSON."""
    rng = random.Random(3)
    events: list[tuple[int, bytes]] = []
    time_us = 1_777_000_000_000_000
    for number in range(n):
        time_us += rng.randrange(1000, 400_000)
        did, rkey = f"did:plc:{number % 17}", f"r{number}"
        if number % 10 == 3:
            frame = identity(time_us, did)
        elif number % 10 == 6:
            frame = deletion(time_us, f"did:plc:{(number - 1) % 17}", f"r{number - 1}")
        else:
            frame = post(time_us, did, rkey, f"post {number}", ["de"] if number % 10 == 8 else ["en-GB"])
        events.append((time_us, frame))
    return events


@pytest.mark.slow
def test_bluesky_over_disconnects_and_kills(kafka: KafkaUnderTest, tmp_path: Path) -> None:
    """20 disconnects, two kills -9: every post and deletion once, in the order of its key."""
    topic, events = kafka.topic("tweets", partitions=3), happened(4000)
    # No connection brings more than 150 of 4,000: all the breaks come before the last of them.
    with Jetstream(events, every=150, breaks=BREAKS) as server:
        role = RoleProcess(
            "source",
            tmp_path / "source.log",
            {"MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap},
            arguments=["bluesky", "--topic", topic, "--server", server.url, "--lang", "en"],
        )
        try:
            for at in (3, 9):
                role.start()
                eventually(partial(server.broke, at), within_s=60)
                role.kill()
            role.start()
            wanted = [frame for _, frame in events if b'"en-GB"' in frame or b'"delete"' in frame]
            eventually(lambda: role.metric("moodstream_source_items_total", outcome="sent") > 0, within_s=60)
            eventually(lambda: len(kafka.read_all(topic)) >= len(wanted), within_s=90, every_s=0.5)
            assert role.ready()
            assert role.metric("moodstream_dependency_retries_total", dependency="bluesky") > 0
            assert role.stop() == 0
        finally:
            role.kill()
    got = kafka.read_all(topic)
    assert server.broken >= BREAKS
    assert Counter(values(got)) == Counter(wanted)
    deleted = [message for message in got if b'"delete"' in (message.value() or b"")]
    assert isinstance(decode(Record("t", 0, 0, deleted[0].key(), deleted[0].value(), 0)), Deletion)
    places = {message.value(): (message.partition(), message.offset() or 0) for message in got}
    for number, (_, frame) in enumerate(events):
        if number % 10 == 6 and events[number - 1][1] in places:  # a deletion, right after its post
            before, after = places[events[number - 1][1]], places[frame]
            assert before[0] == after[0]
            assert before[1] < after[1]


def feed(server: Jetstream, stop: threading.Event) -> BlueskyFeed:
    return BlueskyFeed(SystemClock(), stop, server=server.url)


def test_a_frame_that_is_no_event_is_kept_for_the_dead_letters() -> None:
    stop = threading.Event()
    with Jetstream([(1, b"not json"), (2, post(2, "did:plc:1", "r", "hi"))]) as server:
        given = feed(server, stop).items(None)
        first, second = (next(item for item in given if item is not None) for _ in range(2))
        stop.set()
        given.close()
    assert (first.value, first.readable, first.cursor) == (b"not json", False, None)
    assert (second.key, second.cursor) == (b"at://did:plc:1/app.bsky.feed.post/r", 2)
    assert server.asked[0] == {"wantedCollections": ["app.bsky.feed.post"]}


def test_a_server_that_refuses_ends_it() -> None:
    with Jetstream([], refuse=401) as server, pytest.raises(DependencyError, match="answers 401"):
        next(feed(server, threading.Event()).items(None))


def test_the_cursor_is_asked_for_and_passed_over() -> None:
    stop = threading.Event()
    events = [(n * 1_000_000, post(n * 1_000_000, "did:plc:1", f"r{n}", "hi")) for n in range(1, 21)]
    with Jetstream(events) as server:
        given = feed(server, stop).items(10_000_000)
        item = next(item for item in given if item is not None)
        stop.set()
        given.close()
    assert server.asked[0]["cursor"] == ["5000000"]
    assert item.cursor == 11_000_000
