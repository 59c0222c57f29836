from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from numpy.typing import NDArray
from prometheus_client import generate_latest

from tests.support.models import WordModel
from tests.support.waiting import eventually
from tests.unit.test_loop import Rig
from worker.clock import SystemClock
from worker.control.messages import Pause, Promotion, Report, Shadowing
from worker.errors import ArtifactError, DependencyError
from worker.stream.edges import Model
from worker.stream.operator import Operator

AT = datetime(2026, 1, 1, tzinfo=UTC)


class Beside:
    """A model asked in this process, behind what a shadow needs."""

    def __init__(self, model: Model) -> None:
        self.name = model.name
        self._model = model

    def open(self) -> None:
        pass

    def labels(self, texts: Sequence[str]) -> NDArray[np.intp]:
        return self._model.classify(self._model.prepare(texts)).label

    def close(self) -> None:
        self._model.close()


class Told:
    """A loop whose operator opens word models by name, and what the operator says of it."""

    def __init__(self) -> None:
        self.rig = Rig()
        self.opened: dict[str, WordModel] = {}
        self.reports: list[Report | None] = []
        self.away = False
        self.reading = False
        self.operator = Operator(
            worker="w1",
            loop=self.rig.loop,
            own="words@1",
            open_model=self.open,
            open_shadow=lambda name: Beside(self.open(name)),
            tell=self.tell,
            clock=SystemClock(),
            metrics=self.rig.metrics,
        )

    def open(self, name: str) -> Model:
        if name == "broken@1":
            raise ArtifactError("/store/broken", ["model.safetensors has another SHA-256"])
        if name == "huge@1":
            raise MemoryError
        self.opened[name] = WordModel(name)
        return self.opened[name]

    def tell(self, report: Report | None) -> None:
        if self.away:
            raise DependencyError("kafka", "away")
        self.reports.append(report)

    def set(self, key: str, message: msgspec.Struct | None) -> None:
        self.operator.heard(key.encode(), None if message is None else msgspec.json.encode(message))

    def promote(self, name: str) -> None:
        self.set("model", Promotion(model=name, at=AT))

    def work(self) -> None:
        """Let the loop turn until everything that was posted is answered."""
        if not self.reading:
            self.rig.source.open(lambda _: None)
            self.reading = True
        posted = sum(map(len, self.rig.log.partitions.values()))
        deadline = time.monotonic() + 20
        while len(self.rig.log.published) < posted:
            assert time.monotonic() < deadline, f"{len(self.rig.log.published)} of {posted} answered"
            self.rig.loop.run_once()
            time.sleep(0.001)

    def last(self) -> Report:
        report = self.reports[-1]
        assert report is not None
        return report

    def models_of_labels(self) -> list[str]:
        return [label.model for label in self.rig.labels()]


@pytest.fixture
def told() -> Iterator[Told]:
    made = Told()
    yield made
    made.operator.close()
    made.rig.model.go_on.set()


def until(condition: Callable[[], bool]) -> None:
    eventually(condition, within_s=10, every_s=0.01)


def test_a_promotion_is_served_from_the_next_batch_on(told: Told) -> None:
    told.rig.post("joy before")
    told.operator.settle()
    told.work()
    told.promote("words@2")
    until(lambda: len(told.reports) == 2)
    told.rig.post("joy after")
    told.work()

    assert told.models_of_labels() == ["words@1", "words@2"]
    assert told.rig.model.closed
    assert not told.opened["words@2"].closed
    assert (told.last().model, told.last().told, told.last().refused) == ("words@2", AT, None)
    exposed = generate_latest(told.rig.metrics.registry).decode()
    assert 'moodstream_model_info{backend="words",model="words@2"} 1.0' in exposed
    assert 'model="words@1"} 1.0' not in exposed.split("moodstream_model_info{")[1].splitlines()[0]
    assert 'moodstream_labels_total{emotion="joy",model_version="words@2"} 1.0' in exposed


def test_what_was_promoted_before_the_start_serves_from_the_first_record_on(told: Told) -> None:
    told.promote("words@2")
    told.rig.post("joy")
    told.operator.settle()
    told.work()
    assert told.models_of_labels() == ["words@2"]


def test_posts_that_wait_for_a_batch_are_answered_by_the_new_model(told: Told) -> None:
    told.rig.source.open(lambda _: None)
    told.reading = True
    told.rig.model.hold.set()
    for index in range(100):  # one batch in the model, one at its door, the rest waits
        told.rig.post(f"joy {index}")
    for _ in range(3):
        told.rig.loop.run_once()
    told.operator.settle()
    told.promote("words@2")
    until(lambda: len(told.reports) == 2)
    told.rig.model.go_on.set()
    told.work()

    models = told.models_of_labels()
    assert len(models) == 100
    assert models == sorted(models), "the old model first, then the new one"
    assert set(models) == {"words@1", "words@2"}


@pytest.mark.parametrize(("name", "reason"), [("broken@1", "another SHA-256"), ("huge@1", "MemoryError")])
def test_a_model_that_cannot_be_served_changes_nothing_and_says_why(
    told: Told, name: str, reason: str
) -> None:
    told.operator.settle()
    told.promote(name)
    until(lambda: len(told.reports) == 2)
    told.rig.post("joy")
    told.work()

    assert told.models_of_labels() == ["words@1"]
    assert (told.last().model, told.last().wanted, told.last().told) == ("words@1", name, AT)
    assert reason in (told.last().refused or "")
    told.promote("words@2")
    until(lambda: told.last().model == "words@2")
    assert told.last().refused is None


def test_taking_the_promotion_back_goes_back_to_the_own_model(told: Told) -> None:
    told.promote("words@2")
    told.operator.settle()
    told.set("model", None)
    until(lambda: told.last().model == "words@1")
    told.rig.post("joy")
    told.work()
    assert told.models_of_labels() == ["words@1"]


def test_promoting_what_serves_already_is_answered_too(told: Told) -> None:
    told.operator.settle()
    told.promote("words@1")
    until(lambda: len(told.reports) == 2)
    assert (told.last().model, told.last().told) == ("words@1", AT)
    assert told.opened == {}


def test_a_message_that_is_not_valid_is_counted_and_changes_nothing(told: Told) -> None:
    told.operator.settle()
    told.operator.heard(b"model", b"{")
    told.operator.heard(b"nonsense", b"{}")
    told.rig.post("joy")
    told.work()
    assert told.models_of_labels() == ["words@1"]
    exposed = generate_latest(told.rig.metrics.registry).decode()
    assert 'moodstream_control_messages_total{outcome="invalid"} 2.0' in exposed


def test_kafka_that_takes_no_reports_keeps_nothing_from_happening(told: Told) -> None:
    told.away = True
    told.operator.settle()
    told.promote("words@2")
    until(lambda: "words@2" in told.opened)
    told.rig.post("joy")
    until(lambda: told.rig.loop.serving.name == "words@2")
    told.work()
    assert told.models_of_labels() == ["words@2"]


def test_a_pause_takes_no_records_and_ends(told: Told) -> None:
    told.operator.settle()
    told.set("pause", Pause(paused=True, at=AT))
    until(lambda: len(told.reports) == 2)
    told.rig.post("joy")
    told.rig.source.open(lambda _: None)
    told.reading = True
    for _ in range(5):
        told.rig.loop.run_once()
    assert told.rig.labels() == []
    told.set("pause", None)
    until(lambda: len(told.reports) == 3)
    told.work()
    assert len(told.rig.labels()) == 1


def test_a_shadow_is_asked_about_its_share_and_answers_nobody(told: Told) -> None:
    told.set("shadow", Shadowing(model="words@2", share=0.5, at=AT))
    told.operator.settle()
    for index in range(400):
        told.rig.post(f"joy {index}")
    told.work()
    shadow = told.operator._shadow
    assert shadow is not None
    records = [record for log in told.rig.log.partitions.values() for record in log]
    share = sum(zlib.crc32(record.key or b"") < 1 << 31 for record in records)
    until(lambda: shadow.n + shadow.skipped == share)
    told.set("shadow", None)
    until(lambda: told.opened["words@2"].closed)

    assert told.models_of_labels() == ["words@1"] * 400
    assert shadow.n == shadow.agreed
    assert 0 < share < 400


def test_a_shadow_that_differs_is_counted_and_one_that_fails_hurts_nobody(told: Told) -> None:
    told.set("shadow", Shadowing(model="words@2", share=1, at=AT))
    told.operator.settle()
    model = told.opened["words@2"]
    prepare = model.prepare
    model.prepare = lambda texts: prepare([f"anger {text}" for text in texts])  # type: ignore[method-assign]
    told.rig.post("joy")
    told.work()
    shadow = told.operator._shadow
    assert shadow is not None
    until(lambda: shadow.n == 1)
    assert shadow.agreed == 0

    model.prepare = lambda texts: prepare([f"broken {text}" for text in texts])  # type: ignore[method-assign]
    told.rig.post("joy")
    told.work()
    until(
        lambda: (
            b'outcome="failed"} 1.0' in generate_latest(told.rig.metrics.registry).replace(b'"words@2",', b"")
        )
    )
    assert len(told.rig.labels()) == 2
    exposed = generate_latest(told.rig.metrics.registry).decode()
    assert 'moodstream_shadow_labels_total{emotion="anger",model_version="words@2"} 1.0' in exposed


def test_the_end_is_told_and_no_thread_stays(told: Told) -> None:
    told.operator.settle()
    told.operator.close()
    assert told.reports[-1] is None
    assert not any(thread.name in ("operator", "shadow") for thread in threading.enumerate())
