"""`moodstream topics redrive` and `inspect` on a real Kafka: each letter once, whatever is killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner
from confluent_kafka import Message

from tests.support.kafka import KafkaUnderTest, high_watermarks, unique
from tests.support.pipeline import Pipeline
from tests.support.waiting import eventually
from worker.cli import cli
from worker.errors import BadRecordError, MoodstreamError
from worker.local.redis import RealRedis
from worker.stream.dead_letters import Finder, dead_letter
from worker.topics import redrive
from worker.types import Label, OutRecord, Record

CAME = datetime(2024, 1, 1, 12, tzinfo=UTC)
FOUND = datetime(2026, 5, 4, 18, tzinfo=UTC)


class Topics:
    """Topics of its own, and letters to lie in them."""

    def __init__(self, kafka: KafkaUnderTest) -> None:
        self.kafka = kafka
        self.tweets = kafka.topic("tweets", partitions=3)
        self.feedback = kafka.topic("feedback")
        self.corrections = kafka.topic("corrections")
        self.dead = kafka.topic("dead", partitions=3)
        self.settings = {
            "kafka.bootstrap_servers": kafka.bootstrap,
            "topics.inputs": f"{self.tweets},{self.feedback}",
            "topics.dead_letters": self.dead,
            "topics.corrections": self.corrections,
            "worker.group_id": unique("worker"),
        }

    def letter(self, index: int, kind: str = "model_error", **changes: Any) -> OutRecord:
        """The dead letter of a good post, as if the worker had failed on it."""
        value = msgspec.json.encode({"id": index, "text": f"what a lovely day, number {index}"})
        record = Record(
            self.tweets,
            index % 3,
            index,
            b"%d" % index,
            value,
            int(CAME.timestamp() * 1000),
            [("trace", b"t")],
        )
        record = msgspec.structs.replace(record, **{k: v for k, v in changes.items() if k != "found"})
        finder = Finder(self.dead, "0.1.0", "default@1", 2_000_000)
        return dead_letter(record, BadRecordError(kind, "why"), finder, changes.get("found", FOUND))

    def lay(self, letters: Iterable[OutRecord]) -> None:
        self.kafka.produce(self.dead, letters)

    def run(self, *arguments: str) -> dict[str, Any]:
        result = CliRunner().invoke(
            cli, ["topics", *arguments, "--json", *self.flags], catch_exceptions=False
        )
        assert result.exit_code == 0, result.output
        found: dict[str, Any] = json.loads(result.stdout.splitlines()[-1])
        return found

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """As a process of its own, to be killed."""
        command = [sys.executable, "-m", "worker", "topics", *arguments, "--json", *self.flags]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)

    @property
    def flags(self) -> list[str]:
        return [f"--set={name}={value}" for name, value in self.settings.items()]

    def back(self) -> list[Message]:
        return self.kafka.read_all(self.tweets)

    def written(self) -> int:
        """Records in the topic that letters go back to, committed or not, and markers."""
        return sum(high_watermarks(self.kafka.bootstrap, self.tweets).values())

    def one_is_committed(self, before: int) -> bool:
        """Whether more is there than the first transaction after `before` and the markers around it."""
        return self.written() > before + redrive._AT_ONCE + 10


@pytest.fixture
def topics(kafka: KafkaUnderTest) -> Topics:
    return Topics(kafka)


def origin(message: Message) -> object:
    return dict(message.headers() or [])["moodstream.redriven.from"]


def test_letters_go_back_as_they_came_to_where_they_came_from(topics: Topics) -> None:
    topics.lay(topics.letter(index) for index in range(30))

    assert topics.run("redrive") == {
        "redriven": 30,
        "dry_run": False,
        "by_error": {"model_error": 30},
        "by_topic": {topics.tweets: 30},
        "left": {},
    }

    messages = topics.back()
    assert len(messages) == 30
    for message in messages:
        index = int(message.key() or b"")
        original = topics.letter(index)
        assert message.value() == original.value
        assert message.partition() == index % 3
        headers = dict(message.headers() or [])
        assert str(headers.pop("moodstream.redriven.from")).startswith(f"b'{topics.dead}/")
        assert headers.pop("moodstream.redriven.at")
        assert headers == {
            "trace": b"t",
            "moodstream.redriven.times": b"1",
            "moodstream.redriven.timestamp": b"%d" % (CAME.timestamp() * 1000),
        }
    assert topics.run("redrive")["redriven"] == 0
    assert len(topics.back()) == 30


def test_filters_leave_the_others_for_another_time(topics: Topics) -> None:
    """An offset could not tell this: letters that stay lie before and after letters that went."""
    kinds = ("model_error", "invalid_json", "empty_text")
    topics.lay(
        topics.letter(
            index,
            kinds[index % 3],
            topic=topics.feedback if index % 2 else topics.tweets,
            partition=0,
            found=FOUND + timedelta(hours=index),
        )
        for index in range(60)
    )
    plan = topics.run("redrive", "--dry-run", "--error", "invalid_json", "--source", topics.tweets)
    assert (plan["redriven"], plan["by_topic"], plan["left"]) == (10, {topics.tweets: 10}, {"other": 50})
    assert topics.back() == []

    assert topics.run("redrive", "--error", "invalid_json", "--source", topics.tweets)["redriven"] == 10
    since = (FOUND + timedelta(hours=30)).isoformat()
    assert topics.run("redrive", "--from", since)["redriven"] == 25
    assert topics.run("redrive", "--to", since, "--error", "model_error", "--limit", "3")["redriven"] == 3
    assert topics.run("redrive", "--to", since, "--error", "model_error")["redriven"] == 7
    assert topics.run("redrive")["redriven"] == 15
    messages = topics.back() + topics.kafka.read_all(topics.feedback)
    assert sorted(int(message.key() or b"") for message in messages) == list(range(60))


def test_corrections_go_back_where_people_send_theirs(topics: Topics) -> None:
    topics.lay([topics.letter(0, "no_such_label", topic=topics.corrections, partition=0), topics.letter(1)])

    assert topics.run("redrive")["by_topic"] == {topics.corrections: 1, topics.tweets: 1}
    [back] = topics.kafka.read_all(topics.corrections)
    assert (back.key(), back.value()) == (b"0", topics.letter(0).value)
    assert b"%d" % (CAME.timestamp() * 1000) == dict(back.headers() or [])["moodstream.redriven.timestamp"]


def test_what_cannot_or_should_not_go_back_stays(topics: Topics) -> None:
    often = [("moodstream.redriven.times", b"3")]
    cut = topics.letter(2)
    topics.lay(
        [
            topics.letter(0, headers=often),
            topics.letter(1, topic="somebody-elses"),
            cut._replace(headers=[*cut.headers, ("moodstream.cut", b"value")]),
            OutRecord("", None, b"not a letter"),
            topics.letter(3),
        ]
    )
    report = topics.run("redrive")
    assert report["redriven"] == 1
    assert report["left"] == {"too_often": 1, "elsewhere": 1, "too_large": 1}
    assert topics.run("redrive", "--max-redrives", "4")["redriven"] == 1
    assert [message.key() for message in topics.back()] == [b"3", b"0"]
    assert topics.run("inspect")["foreign"] == 1


def test_a_redrive_that_is_killed_again_and_again_doubles_and_loses_nothing(topics: Topics) -> None:
    n = 10_000
    topics.lay(topics.letter(index) for index in range(n))
    for _ in range(3):
        kill_once_it_has_committed(topics)
    last = topics.run("redrive")["redriven"]
    counts = Counter(map(origin, topics.back()))
    assert len(counts) == n
    assert set(counts.values()) == {1}
    assert last < n


def kill_once_it_has_committed(topics: Topics) -> None:
    before = topics.written()
    process = topics.start("redrive")
    try:
        eventually(
            lambda: process.poll() is not None or topics.one_is_committed(before), within_s=60, every_s=0.01
        )
    finally:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("timeout_ms", [60_000, 1000], ids=["at once", "when its transaction was overdue"])
def test_a_redrive_that_hung_is_fenced_by_the_next(topics: Topics, timeout_ms: int) -> None:
    """A broker that has aborted the hung one's transaction fences it too, which tells it nothing."""
    topics.settings["worker.transaction_timeout_ms"] = str(timeout_ms)
    n = 20_000
    topics.lay(topics.letter(index) for index in range(n))
    hung = topics.start("redrive")
    try:
        eventually(lambda: topics.one_is_committed(0), within_s=60, every_s=0.01)
        os.kill(hung.pid, signal.SIGSTOP)
        assert 0 < topics.run("redrive")["redriven"] < n
        os.kill(hung.pid, signal.SIGCONT)
        _, err = hung.communicate(timeout=60)
    finally:
        hung.kill()
        hung.communicate()
    assert hung.returncode == 4, err
    assert "another" in err
    counts = Counter(map(origin, topics.back()))
    assert len(counts) == n
    assert set(counts.values()) == {1}


def test_inspect_counts_and_shows_no_text_unless_asked(topics: Topics) -> None:
    topics.lay(
        topics.letter(
            index, "invalid_json" if index % 4 else "model_error", found=FOUND + timedelta(hours=index % 2)
        )
        for index in range(40)
    )
    topics.run("redrive", "--error", "model_error")

    found = topics.run("inspect", "--limit", "5")

    assert (found["letters"], found["redriven"]) == (30, 10)
    assert found["by_error"] == {"invalid_json": 30}
    assert found["by_topic"] == {topics.tweets: 30}
    assert found["by_hour"] == {"2026-05-04T18:00Z": 10, "2026-05-04T19:00Z": 20}
    assert len(found["newest"]) == 5
    newest = found["newest"][0]
    assert newest["time"] == "2026-05-04T19:00:00+00:00"
    assert newest["headers"] == ["trace"]
    assert newest["value_bytes"] == len(topics.letter(int(newest["key"])).value or b"")
    everything = CliRunner().invoke(cli, ["topics", "inspect", "--limit", "40", *topics.flags]).output
    assert "lovely" not in everything
    assert "30 dead letters wait; 10 were put back" in everything
    shown = topics.run("inspect", "--all", "--show-text")
    assert shown["letters"] == 40
    assert "lovely" in shown["newest"][0]["value"]
    assert shown["newest"][0]["headers"] == {"trace": "t"}


def test_a_topic_that_is_not_there_is_told(topics: Topics) -> None:
    topics.settings["topics.dead_letters"] = unique("nowhere")
    for command in ("inspect", "redrive"):
        result = CliRunner().invoke(cli, ["topics", command, *topics.flags])
        assert isinstance(result.exception, MoodstreamError)
        assert result.exception.exit_code == 2
        assert "moodstream topics create" in str(result.exception)


def test_a_source_that_is_no_input_is_refused(topics: Topics) -> None:
    result = CliRunner().invoke(cli, ["topics", "redrive", "--source", "twets", *topics.flags])
    assert result.exit_code == 2
    assert "not among topics.inputs" in result.output


@pytest.fixture
def pipeline(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(kafka, redis_server, tmp_path, MOODSTREAM_MODEL__BACKEND="null")
    yield made
    made.close()


def test_the_worker_labels_what_came_back_and_counts_what_fails_again(
    topics: Topics, pipeline: Pipeline
) -> None:
    topics.settings |= {
        "topics.inputs": pipeline.input,
        "topics.dead_letters": pipeline.dead,
        "worker.group_id": pipeline.environment["MOODSTREAM_WORKER__GROUP_ID"],
    }
    topics.tweets, topics.dead = pipeline.input, pipeline.dead
    topics.lay([topics.letter(0), topics.letter(1, value=b"{")])
    pipeline.worker.start()

    def failures() -> object:
        return topics.run("inspect", "--error", "invalid_json")["letters"]

    for times in (1, 2, 3):
        assert topics.run("redrive")["redriven"] == (2 if times == 1 else 1)
        eventually(lambda: failures() == 1, within_s=60, every_s=0.3)
        [letter] = topics.run("inspect")["newest"]
        assert (letter["error"], letter["redrives"]) == ("invalid_json", times)
    assert topics.run("redrive")["left"] == {"too_often": 1}
    [label] = [
        msgspec.json.decode(message.value() or b"", type=Label)
        for message in topics.kafka.read_all(pipeline.labels)
    ]
    assert (label.id, label.created_at) == (0, CAME)
