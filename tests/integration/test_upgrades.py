"""The release before this one beside this one, and what it has written: nothing lost, nothing doubled."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import numpy as np
import pytest
from confluent_kafka import Producer
from redis import Redis

from tests import golden
from tests.support import previous
from tests.support.command import moodstream
from tests.support.kafka import KafkaUnderTest, unique
from tests.support.pipeline import PARTITIONS, Pipeline
from tests.support.roles import RoleProcess
from tests.support.traffic import Traffic
from tests.support.waiting import eventually
from worker.errors import BadRecordError
from worker.local.redis import RealRedis
from worker.stream.batch import Batch, Entry
from worker.stream.outcome import Destination, outgoing
from worker.trends.counting import decode
from worker.types import Classified, OutRecord, Record

RATE_PER_S = 300
BAD_EVERY = 50
Counts = Counter[tuple[str, str, int]]


@pytest.fixture(scope="module")
def old_release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The previous release, unpacked."""
    if (problem := previous.missing()) is not None:
        pytest.skip(problem)
    return previous.unpack(tmp_path_factory.mktemp("previous"))


class TestGolden:
    """What the previous release wrote, without the release itself."""

    def test_every_label_is_read(self) -> None:
        written = golden.load()
        records = [
            Record("emotion-labels", each.partition, offset, each.key, each.value, 1_764_000_000_000)
            for offset, each in enumerate(written.labels)
        ]
        decoded = decode(records)
        assert len(decoded.events) == written.counts.total() == 30
        assert (len(decoded.deletions), decoded.invalid, decoded.outside) == (2, [], [])

    def test_dead_letters_say_the_same_about_themselves(self) -> None:
        """Whoever reads them or puts them back finds old and new ones alike."""
        old = golden.load().dead_letters
        kinds = {dict(each.headers)["moodstream.error"].decode() for each in old}
        assert {"invalid_json", "missing_text", "empty_text"} <= kinds
        entry = Entry(Record("tweets", 0, 5, b"k", b"{", 0), BadRecordError("invalid_json", "no JSON"))
        nothing = Classified(np.empty((0, 6)), np.empty(0), np.empty(0, dtype=np.intp), np.empty(0))
        [new] = outgoing(Batch([entry]), nothing, Destination("l", "d", "m@1", "0.1.0"), datetime.now(UTC))
        names = {name for name, _ in new.headers}
        for each in old:
            assert {name for name, _ in each.headers} <= names


class Upgraded:
    """A topic with the golden labels, at the offsets where the golden Redis stands, and that Redis."""

    def __init__(self, kafka: KafkaUnderTest, redis: RealRedis, folder: Path) -> None:
        self.written = golden.load()
        partitions = 1 + max(each.partition for each in self.written.labels)
        self.topic = kafka.topic("labels", partitions=partitions)
        self._producer = Producer({"bootstrap.servers": kafka.bootstrap})
        self.put((each.partition, each.key, each.value) for each in self.written.labels)
        self.client = Redis.from_url(redis.url)
        golden.load_redis(self.client, self.written.redis, self.topic)
        self.environment = {
            "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "MOODSTREAM_TOPICS__LABELS": self.topic,
            "MOODSTREAM_TRENDS__GROUP_ID": unique("trends"),
            "MOODSTREAM_REDIS__URL": redis.url,
        }
        self.trends = RoleProcess("trends", folder / "trends.log", self.environment)

    def put(self, records: Iterator[tuple[int, bytes | None, bytes | None]]) -> None:
        for partition, key, value in records:
            self._producer.produce(self.topic, value, key, partition)
        assert self._producer.flush(30) == 0

    def close(self) -> None:
        self.trends.kill()
        self.client.close()


@pytest.fixture
def upgraded(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path) -> Iterator[Upgraded]:
    made = Upgraded(kafka, redis_server, tmp_path)
    yield made
    made.close()


def api_counts(trends: RoleProcess, expected: Counts) -> Counts:
    """What the API says of the minutes and sources that are expected, and of all others together."""
    minutes = [minute for _, _, minute in expected]
    span = {"from": min(minutes) - 3600, "to": max(minutes) + 3600, "step": "1m"}
    found: Counts = Counter()
    for source in {source for _, source, _ in expected}:
        answer = trends.get("/api/trends", **span, source=source)
        for series in answer.json()["data"]["series"]:
            found.update({(series["emotion"], source, at): n for at, n in series["points"] if n})
    total = int(trends.get("/api/trends", **span).json()["data"]["n"])
    found.update({("any", "other sources", 0): total - found.total()} if total != found.total() else {})
    return found


def shows(trends: RoleProcess, expected: Counts) -> Callable[[], bool]:
    def look() -> bool:
        return trends.ready() and api_counts(trends, expected) == expected

    return look


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_counts_of_the_previous_release_stay_and_go_on(upgraded: Upgraded) -> None:
    expected = upgraded.written.counts
    upgraded.trends.start()
    eventually(shows(upgraded.trends, expected), within_s=60)
    assert upgraded.trends.metric("moodstream_trends_labels_applied_total") == 0, "nothing is counted again"

    more = [each for each in upgraded.written.labels if each.value is not None][:7]
    upgraded.put((each.partition, each.key, each.value) for each in more)
    for each in more:
        new = json.loads(each.value or b"")
        expected[new["label"], new["source"], golden.minute_of(new["created_at"])] += 1
    eventually(shows(upgraded.trends, expected), within_s=30)

    # Whatever way the counts are lost or given up, the topic gives them back.
    for lose in (
        upgraded.client.flushall,
        lambda: moodstream(["trends", "rebuild"], upgraded.environment),
        lambda: (upgraded.client.flushall(), moodstream(["trends", "rebuild"], upgraded.environment)),
    ):
        before = upgraded.trends.metric("moodstream_trends_labels_applied_total")
        lose()
        counted_anew = before + expected.total()
        eventually(
            lambda: upgraded.trends.metric("moodstream_trends_labels_applied_total") >= counted_anew,  # noqa: B023
            within_s=30,
        )
        eventually(shows(upgraded.trends, expected), within_s=30)


class Rolling:
    """Two workers and a trends role that are exchanged one after the other, under load."""

    def __init__(self, pipeline: Pipeline, old_release: Path, folder: Path) -> None:
        self.pipeline = pipeline
        environment = pipeline.environment | {"MOODSTREAM_MODEL__BACKEND": "null"}

        def role(name: str, number: int, release: Path | None) -> RoleProcess:
            kind = "new" if release is None else "old"
            return RoleProcess(name, folder / f"{name}-{number}-{kind}.log", environment, release=release)

        self.old = [role("worker", number, old_release) for number in range(2)]
        self.new = [role("worker", number, None) for number in range(2)]
        self.old_trends, self.new_trends = role("trends", 0, old_release), role("trends", 0, None)

    def close(self) -> None:
        for each in (*self.old, *self.new, self.old_trends, self.new_trends):
            each.kill()

    def load(self) -> Traffic:
        """A steady stream of posts, some of which are none, while the block runs."""
        return Traffic(self.pipeline.kafka, self.pipeline.input, self._record, per_s=RATE_PER_S)

    @staticmethod
    def _record(number: int) -> OutRecord:
        post = {"id": number, "text": "so happy today", "created_at": "2024-01-01T12:00:00Z", "source": "web"}
        value = b"{" if number % BAD_EVERY == 7 else msgspec.json.encode(post)
        return OutRecord("", b"author-%d" % (number % 211), value)

    def work(self, *workers: RoleProcess) -> None:
        """Wait until each of these has published something more: all of them take part."""
        before = {id(worker): published(worker) for worker in workers}
        eventually(lambda: all(published(each) > before[id(each)] for each in workers), within_s=60)


def published(worker: RoleProcess) -> float:
    return worker.metric("moodstream_records_published_total") if worker.live() else 0.0


@pytest.fixture
def rolling(
    kafka: KafkaUnderTest, redis_server: RealRedis, old_release: Path, tmp_path: Path
) -> Iterator[Rolling]:
    made = Rolling(Pipeline(kafka, redis_server, tmp_path), old_release, tmp_path)
    yield made
    made.close()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_rolling_upgrade_under_load_loses_and_doubles_nothing(rolling: Rolling) -> None:
    first, second = rolling.old
    with rolling.load() as traffic:
        for each in (first, second, rolling.old_trends):
            each.start()
        rolling.work(first, second)
        assert first.stop() == 0
        rolling.new[0].start()
        rolling.work(second, rolling.new[0])  # both releases in one group
        assert rolling.old_trends.stop() == 0
        rolling.new_trends.start()
        second.kill()  # and one that gets no chance to say goodbye
        rolling.new[1].start()
        rolling.work(*rolling.new)

    pipeline = rolling.pipeline
    eventually(
        lambda: sum(len(each) for each in pipeline.outcomes()) >= traffic.sent, within_s=60, every_s=0.5
    )
    labels, dead = pipeline.outcomes()
    sent = Counter(
        f"{m.topic()}/{m.partition()}/{m.offset()}" for m in pipeline.kafka.read_all(pipeline.input)
    )
    assert len(sent) == traffic.sent
    assert Counter([label.input for label in labels] + dead) == sent
    assert any(label.text is None for label in labels), "some by the old release, which wrote no text"
    assert any(label.text is not None for label in labels)

    noon = int(datetime(2024, 1, 1, 12, tzinfo=UTC).timestamp())
    expected: Counts = Counter((label.label, label.source, noon) for label in labels)
    eventually(shows(rolling.new_trends, expected), within_s=60)
    for log in (first.log, second.log, *(each.log for each in rolling.new)):
        assert "Traceback" not in log
    assert PARTITIONS >= 2
