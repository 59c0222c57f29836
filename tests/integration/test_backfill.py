"""`moodstream backfill` on a real Kafka and a real Redis, beside a worker and a trends role that go on."""

from __future__ import annotations

import json
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from click.testing import CliRunner, Result
from confluent_kafka import KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from redis import Redis

from tests.support.artifacts import variant
from tests.support.kafka import KafkaUnderTest, high_watermarks
from tests.support.pipeline import PARTITIONS, Pipeline
from tests.support.waiting import eventually
from worker.cli import cli
from worker.errors import ConfigurationError
from worker.local.processes import ChildProcess
from worker.local.redis import RealRedis
from worker.settings import RedisSettings
from worker.trends.backfills import Backfills, day_text
from worker.trends.keys import Keys
from worker.trends.redis_connection import connected
from worker.trends.swapped_reader import SwappedTrendReader
from worker.trends.windows import DAY, HOUR, Window
from worker.types import Label

TODAY = int(time.time() // DAY)
FIRST, END = TODAY - 2, TODAY
"""The days of the backfill; the live trends have one more before and what comes today."""
A_DAY = 200
NAME = "better"
BAD = b'{"id":1}'


def at(day: int, second: int) -> datetime:
    return datetime.fromtimestamp(day * DAY + second, UTC)


class Past:
    """Posts of three days that a worker has labelled and a trends role counted, and their backfill."""

    def __init__(self, pipeline: Pipeline, model: Path, folder: Path, client: Redis) -> None:
        self.pipeline = pipeline
        self.model = model
        self.folder = folder
        self.kafka = pipeline.kafka
        self.labels = f"{pipeline.labels}-{NAME}"
        self.keys = Keys("moodstream", pipeline.labels)
        self.client = client
        self.reader = SwappedTrendReader(client, self.keys)
        self.environment = {
            **pipeline.environment,
            "MOODSTREAM_TOPICS__PARTITIONS": str(PARTITIONS),
            "MOODSTREAM_BATCH__MAX_RECORDS": "8",
            "MOODSTREAM_TRENDS__MAX_RECORDS": "8",
        }

    def write(self, texts: Sequence[str]) -> None:
        """Posts of three days, bad records of the middle one, and a deletion that came the day after."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap, "enable.idempotence": True})
        for number in range(3 * A_DAY):
            when = at(FIRST - 1 + number // A_DAY, number % A_DAY * 430)
            self._send(producer, b"%d" % number, when, post(number, texts[number % len(texts)], when))
        for number in range(3):
            self._send(producer, b"bad", at(FIRST, number), BAD)
        self._send(producer, b"%d" % (A_DAY + 7), at(END - 1, 7), None)
        assert producer.flush(30) == 0

    def _send(self, producer: Producer, key: bytes, when: datetime, value: bytes | None) -> None:
        producer.produce(self.pipeline.input, value, key, timestamp=int(when.timestamp() * 1000))

    def send(self, key: bytes, value: bytes | None) -> None:
        """One record now."""
        producer = Producer({"bootstrap.servers": self.kafka.bootstrap})
        producer.produce(self.pipeline.input, value, key)
        assert producer.flush(30) == 0

    def command(self, *arguments: object) -> Result:
        given = ["backfill", *map(str, arguments)]
        return CliRunner().invoke(cli, given, env=self.environment, catch_exceptions=False)

    def told(self, *arguments: object) -> Any:
        done = self.command(*arguments, "--json")
        assert done.exit_code == 0, done.output
        return json.loads(done.stdout.splitlines()[-1])

    @property
    def run(self) -> list[str]:
        days = ["--from", day_text(FIRST), "--to", day_text(END)]
        return ["run", NAME, *days, "--model", str(self.model)]

    def start(self) -> ChildProcess:
        """A run as a process of its own, to be killed."""
        command = [sys.executable, "-m", "worker", "backfill", *self.run]
        run = ChildProcess("backfill", command, log=self.folder / "run.log", env=self.environment)
        run.start(lambda: True)
        return run

    def written(self) -> int:
        """Records in the topic of labels, committed or not, and markers."""
        try:
            return sum(high_watermarks(self.kafka.bootstrap, self.labels).values())
        except (AssertionError, KeyError, KafkaException):  # it is just being made, or gone
            return 0

    def counted(self) -> int:
        """Partitions of which something is counted."""
        return max(0, self.client.hlen(self.keys._replace(backfill=NAME).state) - 1)

    def committed(self) -> dict[str, list[int]]:
        """Where the live groups stand."""
        found = {}
        for role, topic in (("WORKER", self.pipeline.input), ("TRENDS", self.pipeline.labels)):
            group = self.pipeline.environment[f"MOODSTREAM_{role}__GROUP_ID"]
            found[group] = list(self.kafka.committed(group, topic).values())
        return found

    def api(self, path: str, **more: Any) -> Any:
        """Of all four days; never an answer that is remembered."""
        time.sleep(0.6)
        asked = {"from": at(FIRST - 1, 0).isoformat(), "to": at(TODAY + 1, 0).isoformat(), **more}
        answer = self.pipeline.trends.get(path, **asked)
        assert answer.is_success, answer.text
        return answer.json()["data"]

    def curve(self, step: str) -> Counter[tuple[int, str]]:
        """What the API counts, by the start of a step and emotion."""
        series = self.api("/api/trends", step=step)["series"]
        return Counter({(start, one["emotion"]): n for one in series for start, n in one["points"] if n})


def post(number: int, text: str, when: datetime) -> bytes:
    return msgspec.json.encode(
        {"id": number, "text": text, "created_at": when, "author_id": f"author-{number % 50}", "lang": "en"}
    )


@pytest.fixture
def past(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path, posts: list[str]) -> Iterator[Past]:
    model = variant(tmp_path / "plain", name="plain", version="1", text_version=0)
    pipeline = Pipeline(
        kafka,
        redis_server,
        tmp_path,
        MOODSTREAM_TRENDS__STORE_TEXT="on",
        MOODSTREAM_TRENDS__ALERTS__DETECT="off",
    )
    with connected(RedisSettings(url=redis_server.url)) as client:
        made = Past(pipeline, model, tmp_path, client)
        made.write(posts)
        pipeline.worker.start()
        pipeline.trends.start()
        eventually(lambda: made.reader.read(window(DAY)).n == 3 * A_DAY, within_s=60)
        eventually(lambda: min(made.committed().popitem()[1]) > 0, within_s=20)
        yield made
    pipeline.close()


def window(step: int) -> Window:
    return Window((FIRST - 1) * DAY, (TODAY + 1) * DAY, step)


def labels_of(kafka: KafkaUnderTest, topic: str) -> tuple[list[Label], list[bytes | None]]:
    """The labels of a topic, and the keys of its tombstones."""
    messages = kafka.read_all(topic)
    values = [value for message in messages if (value := message.value()) is not None]
    deleted = [message.key() for message in messages if message.value() is None]
    return [msgspec.json.decode(value, type=Label) for value in values], deleted


def curve_of(labels: list[Label], step: int) -> Counter[tuple[int, str]]:
    """The same that the API counts, the slow and obvious way."""
    return Counter((int(one.created_at.timestamp() // step) * step, one.label) for one in labels)


@pytest.mark.slow
def test_days_are_labelled_anew_swapped_in_and_back(past: Past) -> None:
    live, _ = labels_of(past.kafka, past.pipeline.labels)
    by_hour, by_day = past.curve("1h"), past.curve("1d")
    stood, letters = past.committed(), len(past.kafka.read_all(past.pipeline.dead))
    assert by_hour == curve_of(live, HOUR)

    # Stopped in good order, killed while it labels, and again while it counts.
    run = past.start()
    eventually(lambda: past.client.exists(past.keys.backfills), within_s=60, every_s=0.01)
    run.stop(within_s=40)
    assert run._child is not None
    assert run._child.returncode == 130, run.output()
    run.start(lambda: past.written() > 10, within_s=60)
    assert run.alive
    run.kill()
    assert len(labels_of(past.kafka, past.labels)[0]) < 2 * A_DAY
    with pytest.raises(ConfigurationError, match=f"not complete: `moodstream backfill run {NAME}` goes on"):
        past.command("swap", NAME)
    run.start(lambda: past.counted() > 0, within_s=90)
    run.kill()

    with pytest.raises(ConfigurationError) as refused:
        past.command(*past.run[:-1], "bundled", "--to", day_text(END - 1))
    assert [problem.partition(":")[0] for problem in refused.value.problems] == [
        f"{NAME} is of the days from {day_text(FIRST)} to {day_text(END)}",
        f"{NAME} was begun with plain@1, and this is {live[0].model}",
    ]
    done = past.told("run", NAME, "--model", past.model)

    # Each post of these days has one label, whoever was killed; what is no post lies apart.
    better, deleted = labels_of(past.kafka, past.labels)
    assert sorted(int(one.id) for one in better) == list(range(A_DAY, 3 * A_DAY))
    assert {one.model for one in better} == {"plain@1"}
    assert {one.input for one in better} == {one.input for one in live if int(one.id) >= A_DAY}
    assert deleted == [b"%d" % (A_DAY + 7)]
    assert len(past.kafka.read_all(f"{past.pipeline.dead}-{NAME}")) == 3
    assert {"n": done["n"], "live_n": done["live_n"], "complete": done["complete"]} == {
        "n": 2 * A_DAY,
        "live_n": 2 * A_DAY,
        "complete": True,
    }

    # Nothing live has moved.
    assert past.committed() == stood
    assert len(past.kafka.read_all(past.pipeline.dead)) == letters
    assert (past.curve("1h"), past.curve("1d")) == (by_hour, by_day)

    shown = past.told("swap", NAME)
    assert (shown["swapped"], shown["from"], shown["to"]) == (True, day_text(FIRST), day_text(END))
    outside = [one for one in live if int(one.id) < A_DAY]
    assert past.curve("1h") == curve_of(outside + better, HOUR) != by_hour
    assert past.curve("1d") == curve_of(outside + better, DAY)
    authors = past.api("/api/trends", step="1d")["unique_authors"]
    assert authors == pytest.approx(50, abs=1)

    deletions_reach_what_is_swapped_in(past)
    live_counting_goes_on(past)

    past.told("swap", NAME, "--undo")
    assert {at: n for at, n in past.curve("1h").items() if at[0] < TODAY * DAY} == by_hour
    every_answer_is_whole(past, Backfills(past.client, past.keys))
    what_comes_late_is_brought_by_another_run(past)

    past.told("remove", NAME)
    assert past.told("status") == {"backfills": []}
    assert not list(past.client.scan_iter(match="*:b:*"))
    eventually(lambda: past.written() == 0, within_s=20)
    assert past.reader.read(window(DAY)).n == 3 * A_DAY + 2


def deletions_reach_what_is_swapped_in(past: Past) -> None:
    """A post that the backfill has sampled is deleted live: its text goes there too."""

    def samples() -> dict[int, Any]:
        asked = {"from": at(FIRST, 0).isoformat(), "to": at(END, 0).isoformat(), "limit": 500}
        return {one["id"]: one for one in past.api("/api/samples", **asked)["samples"]}

    drawn = samples()
    assert A_DAY + 7 not in drawn
    victim = next(iter(drawn))
    assert drawn[victim]["text"]
    assert drawn[victim]["label_ref"].startswith(f"{past.labels}/")
    past.send(b"%d" % victim, None)
    eventually(lambda: victim not in samples(), within_s=30)


def live_counting_goes_on(past: Past) -> None:
    past.send(b"new", post(9999, "what a lovely day", datetime.now(UTC)))
    today = Window(TODAY * DAY, (TODAY + 2) * DAY, DAY)
    eventually(lambda: past.reader.read(today).n == 1, within_s=30)


def what_comes_late_is_brought_by_another_run(past: Past) -> None:
    """And the deletion of before, which the live trends have done in the backfill already."""
    past.send(b"late", post(5555, "so sorry for your loss", at(FIRST, 3600)))
    eventually(lambda: past.reader.read(window(DAY)).n == 3 * A_DAY + 2, within_s=30)
    done = past.told("run", NAME, "--model", past.model)
    assert {what: done[what] for what in ("labels", "tombstones", "counted", "n")} == {
        "labels": 1,
        "tombstones": 1,
        "counted": 1,
        "n": 2 * A_DAY + 1,
    }


def every_answer_is_whole(past: Past, backfills: Backfills) -> None:
    """Asked while it is swapped in and out: each answer is of before or of after."""
    found = backfills.find(NAME)
    assert found is not None
    before = past.reader.read(window(HOUR)).counts
    seen: list[Any] = []
    over = threading.Event()

    def ask() -> None:
        while not over.is_set():
            seen.append(past.reader.read(window(HOUR)).counts)

    asking = threading.Thread(target=ask)
    asking.start()
    for _ in range(100):
        backfills.swap(found)
        backfills.take_out(NAME)
    backfills.swap(found)
    after = past.reader.read(window(HOUR)).counts
    over.set()
    asking.join()
    assert before != after
    assert seen
    assert all(one in (before, after) for one in seen)
    past.told("swap", NAME, "--undo")


def test_what_makes_no_sense_is_refused_before_anything_is_written(
    kafka: KafkaUnderTest, redis_server: RealRedis
) -> None:
    topic = kafka.topic("quiet", partitions=2, **{"retention.ms": "-1"})
    environment = {
        "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "MOODSTREAM_TOPICS__INPUTS": topic,
        "MOODSTREAM_TOPICS__LABELS": f"labels-of-{topic}",
        "MOODSTREAM_REDIS__URL": redis_server.url,
    }

    def told(*arguments: str) -> str:
        with pytest.raises(ConfigurationError) as caught:
            CliRunner().invoke(cli, ["backfill", *arguments], env=environment, catch_exceptions=False)
        return str(caught.value)

    days = ("--from", day_text(FIRST), "--to", day_text(END))
    assert told("run", "may") == (
        "which days? may is new: give --from DAY and --to DAY, such as 2026-05-01 and 2026-06-01"
    )
    assert "is not over yet" in told("run", "may", "--from", day_text(FIRST), "--to", day_text(TODAY + 2))
    assert told("run", "may", *days) == f"there is no record since {day_text(FIRST)} in {topic}"
    assert "there is no topic gone" in told("run", "may", *days, "--set", "topics.inputs=gone")
    assert told("swap", "may") == told("remove", "may") == "there is no backfill may; there are: none"
    wrong = CliRunner().invoke(cli, ["backfill", "run", "May", *days], env=environment)
    assert (wrong.exit_code, "small letters, digits and dashes" in wrong.output) == (2, True)

    # What has lost its first records cannot be labelled anew as if they had never been.
    old = Producer({"bootstrap.servers": kafka.bootstrap})
    for number in range(4):
        when = at(FIRST, number * HOUR)
        old.produce(topic, post(number, "x", when), partition=0, timestamp=int(when.timestamp() * 1000))
    assert old.flush(30) == 0
    admin = AdminClient({"bootstrap.servers": kafka.bootstrap})
    for deleted in admin.delete_records([TopicPartition(topic, 0, 2)]).values():
        deleted.result(30)
    short = ("--set", "topics.retention_hours=1")
    assert told("run", "may", *days, *short).startswith(
        f"{topic}/0 has lost what was written before {day_text(FIRST)}T02:00:00+00:00: begin with --from"
        f" {day_text(FIRST + 1)}, or say --allow-gaps"
    )
    assert not kafka_has(kafka, f"labels-of-{topic}-may")
    with connected(RedisSettings(url=redis_server.url)) as client:
        assert client.dbsize() == 0


def kafka_has(kafka: KafkaUnderTest, topic: str) -> bool:
    return topic in AdminClient({"bootstrap.servers": kafka.bootstrap}).list_topics(timeout=10).topics
