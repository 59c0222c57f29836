from __future__ import annotations

import itertools
from collections.abc import Iterator

import msgspec
import pytest
from prometheus_client import generate_latest

from tests.support.models import WordModel
from worker.clock import SystemClock
from worker.errors import DataLossAvertedError
from worker.metrics import Metrics
from worker.settings import DeadLetterSettings
from worker.stream.batch import BatchBuilder
from worker.stream.loop import Loop
from worker.stream.memory import MemoryLog, MemoryPublisher, MemorySource
from worker.stream.meter import Meter
from worker.stream.outcome import Destination
from worker.stream.pace import Budget
from worker.stream.request_queue import RequestQueue
from worker.stream.role import limits
from worker.types import EMOTIONS, Label, TopicPartition
from worker.web.health import Health


class Rig:
    """A loop over memory, with every part at hand."""

    def __init__(
        self, *, max_records: int = 8, linger_s: float = 0.0, queue: RequestQueue | None = None
    ) -> None:
        self.log = MemoryLog()
        self.source = MemorySource(self.log)
        self.publisher = MemoryPublisher(self.log)
        self.model = WordModel()
        self.metrics = Metrics()
        clock = SystemClock()
        self.builder = BatchBuilder(max_records=max_records, pace=Budget(100_000), linger_s=linger_s)
        self.loop = Loop(
            source=self.source,
            publisher=self.publisher,
            model=self.model,
            builder=self.builder,
            destination=Destination("labels", "dead", self.model.name, "0"),
            clock=clock,
            meter=Meter(self.metrics, Health(clock, 60.0, ())),
            limits=limits(DeadLetterSettings()),
            queue=queue,
        )

    def post(self, text: str, partition: int = 0) -> None:
        value = msgspec.json.encode({"id": len(self.log.published), "text": text})
        self.log.append("tweets", value, key=text.encode(), partition=partition)

    def run(self, drain_s: float = 30.0) -> None:
        self.loop.run(self.source.is_exhausted, drain_s)

    def labels(self) -> list[Label]:
        return [
            msgspec.json.decode(record.value or b"", type=Label)
            for record in self.log.published
            if record.topic == "labels"
        ]

    def exposed(self) -> str:
        return generate_latest(self.metrics.registry).decode()


@pytest.fixture
def rig() -> Iterator[Rig]:
    made = Rig()
    yield made
    made.model.go_on.set()


def test_every_record_is_labelled_once_in_order_and_committed(rig: Rig) -> None:
    emotions = list(itertools.islice(itertools.cycle(EMOTIONS), 100))
    for index, emotion in enumerate(emotions):
        rig.post(f"{emotion} number {index}", partition=index % 3)
    rig.run()
    by_input = {label.input: label.label for label in rig.labels()}
    assert len(rig.labels()) == len(by_input) == 100
    for index, emotion in enumerate(emotions):
        assert by_input[f"tweets/{index % 3}/{index // 3}"] == emotion
    for partition in range(3):
        offsets = [
            int(label.input.split("/")[2])
            for label in rig.labels()
            if label.input.startswith(f"tweets/{partition}/")
        ]
        assert offsets == sorted(offsets)
        assert rig.log.committed[TopicPartition("tweets", partition)] == len(offsets)


def test_bad_records_and_deletions_go_their_own_way(rig: Rig) -> None:
    rig.post("joy")
    rig.log.append("tweets", b"\xff", key=b"bad")
    rig.log.append("tweets", None, key=b"gone")
    rig.post("")
    rig.run()
    assert [(record.topic, record.key) for record in rig.log.published] == [
        ("labels", b"joy"),
        ("dead", b"bad"),
        ("labels", b"gone"),
        ("dead", b""),
    ]
    exposed = rig.exposed()
    assert 'moodstream_records_published_total{outcome="dead_letter",topic="tweets"} 2.0' in exposed
    assert 'moodstream_records_published_total{outcome="deletion",topic="tweets"} 1.0' in exposed
    assert 'moodstream_labels_total{emotion="joy",model_version="words@1"} 1.0' in exposed
    assert 'moodstream_dead_letters_total{kind="invalid_utf8"} 1.0' in exposed
    assert "moodstream_record_latency_seconds_count 4.0" in exposed


def test_a_batch_of_bad_records_alone_is_committed_too(rig: Rig) -> None:
    for _ in range(20):
        rig.log.append("tweets", b"{")
    rig.run()
    assert len(rig.log.published) == 20
    assert rig.log.committed == {TopicPartition("tweets", 0): 20}


def test_an_aborted_publication_is_done_again_and_nothing_twice(rig: Rig) -> None:
    for index in range(50):
        rig.post(f"fear {index}")
    rig.publisher.fail_next = True
    rig.run()
    assert [label.input for label in rig.labels()] == [f"tweets/0/{index}" for index in range(50)]
    assert 'moodstream_transactions_total{outcome="aborted"} 1.0' in rig.exposed()


def test_the_post_that_breaks_the_model_leaves_alone(rig: Rig) -> None:
    for text in ("joy", "anger", "broken", "love", "fear"):
        rig.post(text)
    rig.run()
    assert [record.topic for record in rig.log.published] == ["labels", "labels", "dead", "labels", "labels"]
    assert [label.label for label in rig.labels()] == ["joy", "anger", "love", "fear"]
    dead = rig.log.published[2]
    assert dict(dead.headers)["moodstream.error"] == b"model_error"
    assert dead.value is not None
    assert b"broken" in dead.value


@pytest.mark.parametrize("max_records", [1, 40])
def test_a_broken_model_stops_the_worker(max_records: int) -> None:
    """Alone in their batches or together: at most a handful of good posts become dead letters."""
    rig = Rig(max_records=max_records)
    for _ in range(40):
        rig.post("broken")
    with pytest.raises(DataLossAvertedError, match="Check it"):
        rig.run()
    assert len(rig.log.published) <= 8
    assert rig.log.committed.get(TopicPartition("tweets", 0), 0) == len(rig.log.published)


def test_a_model_that_fails_on_any_post_stops_the_worker_and_spoils_none(rig: Rig) -> None:
    for index in range(20):
        rig.post(f"joy {index}")
    rig.model.dead = True
    with pytest.raises(DataLossAvertedError, match=r"the model is broken: it fails \(RuntimeError\)"):
        rig.run()
    assert rig.log.published == []
    assert rig.log.committed == {}
    assert len(rig.model.calls) <= 6  # found by halving, not by asking for every post


def test_too_many_failures_in_the_window_stop_the_worker(rig: Rig) -> None:
    for index in range(100):
        rig.post("broken" if index % 2 else "joy")
    with pytest.raises(DataLossAvertedError, match="model_ratio"):
        rig.run()
    assert rig.log.committed[TopicPartition("tweets", 0)] == len(rig.log.published) <= 24


def test_failures_of_a_batch_that_was_not_published_do_not_count_twice(rig: Rig) -> None:
    for index in range(5):
        rig.post(f"broken {index}")
    for _ in range(200):
        rig.post("joy")
    rig.publisher.fail_next = True
    rig.run()
    assert len(rig.log.published) == 205


def test_a_model_that_answers_for_another_number_of_posts_is_broken(rig: Rig) -> None:
    rig.post("joy")
    rig.post("fear")
    rig.model.short = True
    with pytest.raises(DataLossAvertedError, match="ValueError"):
        rig.run()
    assert rig.log.published == []


def test_a_text_that_cannot_be_tokenised_leaves_alone(rig: Rig) -> None:
    for text in ("joy", "uncuttable", "fear"):
        rig.post(text)
    rig.run()
    assert [record.topic for record in rig.log.published] == ["labels", "dead", "labels"]
    assert dict(rig.log.published[1].headers)["moodstream.message"] == b"tokenising: ValueError"


def test_a_slow_model_stops_the_fetching(rig: Rig) -> None:
    """Backpressure: one batch in the model, one in the builder, and nothing more is taken."""
    for index in range(5000):
        rig.post(f"joy {index}")
    rig.model.hold.set()
    rig.source.open(lambda _: None)
    for _ in range(3):
        rig.loop.run_once()
    held = len(rig.builder)
    rig.loop.run_once()
    assert len(rig.builder) == held <= 2048
    assert rig.log.published == []


def test_a_revoked_partition_is_not_published(rig: Rig) -> None:
    """What is in the model and in the builder belongs to the next owner of the partition."""
    for index in range(24):
        rig.post(f"joy {index}", partition=index % 2)
    rig.model.hold.set()
    rig.source.open(rig.loop._revoked)
    rig.loop.run_once()
    rig.loop.run_once()
    rig.source.revoke([TopicPartition("tweets", 1)])
    rig.model.hold.clear()
    rig.model.go_on.set()
    rig.run()
    assert {label.input.rsplit("/", 1)[0] for label in rig.labels()} == {"tweets/0"}
    assert rig.log.committed == {TopicPartition("tweets", 0): 12}


def test_draining_ends_at_its_deadline_and_loses_nothing(rig: Rig) -> None:
    for index in range(20):
        rig.post(f"joy {index}")
    rig.model.hold.set()
    rig.run(drain_s=0.1)
    assert rig.log.committed == {}


def test_long_texts_are_counted_as_cut(rig: Rig) -> None:
    rig.post("joy " * 100)
    rig.run()
    assert "moodstream_texts_truncated_total 1.0" in rig.exposed()
