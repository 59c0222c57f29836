"""The model's thread hands every batch back once, whenever it finishes."""

from __future__ import annotations

from concurrent.futures import Future
from typing import Any

import pytest

from tests.support.models import WordModel
from worker.clock import SystemClock
from worker.stream.batch import Batch, Entry
from worker.stream.model_stage import Answered, ModelStage
from worker.types import Post, Record


class JustThen(Future[Answered]):
    """Finishes right behind each look that finds it unfinished, as the model's thread may at any moment."""

    def __init__(self, answered: Answered) -> None:
        super().__init__()
        self._answered = answered

    def _finish(self) -> None:
        if not super().done():
            self.set_result(self._answered)

    def done(self) -> bool:
        found = super().done()
        self._finish()
        return found

    def result(self, timeout: float | None = None) -> Answered:
        try:
            return super().result(timeout)
        except TimeoutError:
            self._finish()
            raise


@pytest.mark.parametrize("timeout_s", [0.0, 0.001])
def test_a_batch_that_finishes_while_it_is_looked_for_is_not_lost(
    timeout_s: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = ModelStage(WordModel(), SystemClock().monotonic)
    entry = Entry(Record("tweets", 0, 7, b"k", b"", 0), Post(id=7, text="joy"), tokens=[1])
    batch = Batch([entry])
    answered = Answered(batch, WordModel().classify([[1]]))

    def submit(*_: Any) -> Future[Answered]:
        return JustThen(answered)

    monkeypatch.setattr(stage._thread, "submit", submit)
    stage.submit(batch)
    collected = [stage.collect(timeout_s), stage.collect(timeout_s)]
    assert [one for one in collected if one is not None] == [answered]
    assert not stage.busy


def test_a_model_that_is_not_done_is_not_collected() -> None:
    model = WordModel()
    model.hold.set()
    stage = ModelStage(model, SystemClock().monotonic)
    stage.submit(Batch([Entry(Record("tweets", 0, 7, b"k", b"", 0), Post(id=7, text="joy"), tokens=[106])]))
    assert stage.collect(0.0) is None
    assert stage.collect(0.01) is None
    model.go_on.set()
    answered = stage.collect(30)
    assert answered is not None
    assert len(answered.answer.label) == 1
    assert not stage.busy
    stage.close()
