"""Texts that somebody asks about: behind the stream, together, each answered or told why not."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager

import numpy as np
import pytest

from tests.support.models import WordModel
from tests.support.waiting import eventually
from tests.unit.test_loop import Rig
from worker.clock import ManualClock
from worker.stream import request_queue
from worker.stream.batch import Batch, Entry
from worker.stream.model_stage import ModelStage
from worker.stream.request_queue import MOST_AT_ONCE, Answer, NoAnswerError, NotNowError, RequestQueue
from worker.types import Classified, Post, Record, Scores

WITHIN_S = 30.0
"""Only a hang takes so long."""
PLACES, WAIT_S = 100, 2.0


class Model(WordModel):
    """Notes what it is asked, call by call; has no finite answer for what begins with `odd`."""

    def __init__(self, name: str = "words@1") -> None:
        super().__init__(name)
        self.asked: list[list[str]] = []
        self.entered = threading.Event()
        self.gate: threading.Semaphore | None = None
        """Where there is one, each call waits until it is released once more."""

    def classify(self, rows: Sequence[Sequence[int]]) -> Classified:
        texts = ["".join(map(chr, row)) for row in rows]
        self.asked.append(texts)
        self.entered.set()
        if self.gate is not None:
            self.gate.acquire(timeout=WITHIN_S)
        answer = super().classify(rows)
        odd = [text.startswith("odd") for text in texts]
        answer.scores[np.asarray(odd, dtype=bool)] = np.nan
        return answer


class Stage:
    """A model with a queue, and batches of the stream that stand in its way."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.model = Model()
        self.stage = ModelStage(self.model, self.clock.monotonic)
        self.queue = RequestQueue(places=PLACES, wait_s=WAIT_S, monotonic=self.clock.monotonic)
        self.stage.serve(self.queue)

    def stream(self, *texts: str) -> None:
        """A batch of the stream."""
        entries = [
            Entry(Record("tweets", 0, offset, None, b"", 0), Post(id=offset, text=text))
            for offset, text in enumerate(texts)
        ]
        for entry, row in zip(entries, self.model.prepare(texts), strict=True):
            entry.tokens = row
        self.stage.submit(Batch(entries))

    @contextmanager
    def busy(self, *texts: str) -> Iterator[None]:
        """While a batch of the stream is in the model."""
        self.model.hold.set()
        self.stream(*texts)
        assert self.model.entered.wait(WITHIN_S)
        yield
        self.model.hold.clear()
        self.model.go_on.set()

    def collect(self) -> str:
        """The model that answered the next batch of the stream."""
        answered = self.stage.collect(WITHIN_S)
        assert answered is not None
        return answered.model


@pytest.fixture
def stage() -> Iterator[Stage]:
    made = Stage()
    yield made
    made.model.go_on.set()
    made.stage.close()


def answers(asked: Future[list[Answer]]) -> list[Answer]:
    return asked.result(WITHIN_S)


def labels(asked: Future[list[Answer]]) -> list[str]:
    return [answer.label for answer in answers(asked)]


def refusal(asked: Future[list[Answer]]) -> NotNowError:
    error = asked.exception(WITHIN_S)
    assert isinstance(error, NotNowError)
    return error


def failure(asked: Future[list[Answer]]) -> str:
    error = asked.exception(WITHIN_S)
    assert isinstance(error, NoAnswerError)
    return str(error)


def test_an_answer_has_the_fields_of_a_label(stage: Stage) -> None:
    scores = Scores(sadness=0.02, joy=0.9, love=0.02, anger=0.02, fear=0.02, surprise=0.02)
    assert answers(stage.queue.ask(["joy"])) == [Answer("joy", 0.9, scores, 0.0, "words@1")]


def test_a_batch_that_came_later_goes_first(stage: Stage) -> None:
    with stage.busy("joy one"):
        asked = stage.queue.ask(["love"])
        stage.stream("joy two")
    assert labels(asked) == ["love"]
    assert stage.model.asked == [["joy one"], ["joy two"], ["love"]]


def test_what_is_asked_meanwhile_is_answered_by_one_call(stage: Stage) -> None:
    with stage.busy("joy"):
        asked = [stage.queue.ask([f"{word} 1", f"{word} 2"]) for word in ("love", "fear", "anger")]
    assert [labels(one) for one in asked] == [["love"] * 2, ["fear"] * 2, ["anger"] * 2]
    assert stage.model.asked[1:] == [["love 1", "love 2", "fear 1", "fear 2", "anger 1", "anger 2"]]


def test_no_call_is_larger_than_a_batch_may_wait_for(stage: Stage) -> None:
    many = [f"love {number}" for number in range(MOST_AT_ONCE + 8)]
    with stage.busy("joy"):
        asked = [stage.queue.ask(many), stage.queue.ask(["fear"]), stage.queue.ask(many)]
    assert [len(answers(one)) for one in asked] == [len(many), 1, len(many)]
    assert stage.model.calls[1:] == [MOST_AT_ONCE, MOST_AT_ONCE, 2 * len(many) + 1 - 2 * MOST_AT_ONCE]


def test_long_texts_are_asked_about_a_few_at_a_time(stage: Stage) -> None:
    with stage.busy("joy"):
        asked = [stage.queue.ask(["love " * 2000, "fear " * 2000]), stage.queue.ask(["joy " * 10_000])]
    assert [labels(one) for one in asked] == [["love", "fear"], ["joy"]]
    assert stage.model.calls[1:] == [1, 1, 1]


def test_a_batch_gets_in_between_two_calls(stage: Stage) -> None:
    many = [f"love {number}" for number in range(2 * MOST_AT_ONCE)]
    stage.model.hold.set()
    asked = stage.queue.ask(many)
    assert stage.model.entered.wait(WITHIN_S)
    stage.stream("joy")
    stage.model.hold.clear()
    stage.model.go_on.set()
    assert len(answers(asked)) == len(many)
    assert stage.model.calls == [MOST_AT_ONCE, 1, MOST_AT_ONCE]


def test_a_stream_that_leaves_no_time_refuses_after_the_wait(stage: Stage) -> None:
    with stage.busy("joy one"):
        early = stage.queue.ask(["love"])
        stage.clock.sleep(WAIT_S / 2)
        late = stage.queue.ask(["fear"])
        stage.clock.sleep(WAIT_S / 2)
        stage.stream("joy two")
    assert labels(late) == ["fear"]
    assert refusal(early).outcome == "overdue"
    assert stage.model.asked == [["joy one"], ["joy two"], ["fear"]]


def test_what_is_overdue_hears_of_it_while_the_stream_goes_on(stage: Stage) -> None:
    stage.model.gate = threading.Semaphore(0)
    stage.stream("joy one")
    assert stage.model.entered.wait(WITHIN_S)
    asked = stage.queue.ask(["love"])
    stage.stream("joy two")
    stage.clock.sleep(WAIT_S)
    stage.model.gate.release()
    assert refusal(asked).outcome == "overdue"
    stage.model.gate.release()
    assert [stage.collect(), stage.collect()] == ["words@1", "words@1"]
    assert stage.model.asked == [["joy one"], ["joy two"]]


def test_what_is_overdue_makes_room_for_others(stage: Stage) -> None:
    with stage.busy("joy"):
        early = stage.queue.ask(["love"] * PLACES)
        stage.clock.sleep(WAIT_S)
        late = stage.queue.ask(["fear"])
        assert refusal(early).outcome == "overdue"
    assert labels(late) == ["fear"]
    assert stage.model.calls == [1, 1]


def test_a_full_queue_refuses_at_once(stage: Stage) -> None:
    with stage.busy("joy"):
        waiting = stage.queue.ask(["love"] * (PLACES - 1))
        with pytest.raises(NotNowError, match=f"more than {PLACES} texts") as refused:
            stage.queue.ask(["fear", "fear"])
        last = stage.queue.ask(["fear"])
    assert refused.value.outcome == "full"
    assert (refused.value.status, refused.value.headers["Retry-After"]) == (503, "1")
    assert len(answers(waiting)) == PLACES - 1
    assert labels(last) == ["fear"]


def test_what_nobody_waits_for_is_not_asked_and_makes_room(stage: Stage) -> None:
    with stage.busy("joy"):
        gone = stage.queue.ask(["love"] * PLACES)
        assert gone.cancel()
        asked = stage.queue.ask(["fear"] * PLACES)
    assert len(answers(asked)) == PLACES
    assert not any("love" in text for texts in stage.model.asked for text in texts)


def test_who_leaves_while_the_model_works_harms_nobody(stage: Stage) -> None:
    stage.model.hold.set()
    gone = stage.queue.ask(["love"])
    assert stage.model.entered.wait(WITHIN_S)
    assert gone.cancel()
    stage.model.hold.clear()
    stage.model.go_on.set()
    assert labels(stage.queue.ask(["fear"])) == ["fear"]


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ("broken", "the model fails (RuntimeError) on one of the texts"),
        ("uncuttable", "the model fails (ValueError) on one of the texts"),
        ("odd", "texts[1]: the model's answer is not finite"),
    ],
)
def test_a_text_that_the_model_fails_on_fails_its_own_request_only(
    stage: Stage, bad: str, says: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    secret = f"{bad} and private"
    with stage.busy("joy"):
        asked = [stage.queue.ask(["love"]), stage.queue.ask(["joy", secret]), stage.queue.ask(["fear"])]
    assert (labels(asked[0]), labels(asked[2])) == (["love"], ["fear"])
    assert failure(asked[1]) == says
    stage.stream("joy again")
    assert [stage.collect(), stage.collect()] == ["words@1", "words@1"]
    assert "was not answered" in caplog.text
    assert "private" not in caplog.text


@pytest.mark.parametrize("fault", ["dead", "short"])
def test_a_model_that_answers_no_text_fails_every_request_and_serves_again(stage: Stage, fault: str) -> None:
    setattr(stage.model, fault, True)
    stage.model.hold.set()
    asked = [stage.queue.ask(["love"]), stage.queue.ask(["fear"]), stage.queue.ask(["joy"])]
    stage.model.go_on.set()
    assert all("the model fails" in failure(one) for one in asked)
    setattr(stage.model, fault, False)
    assert labels(stage.queue.ask(["love"])) == ["love"]


def test_what_is_asked_after_a_switch_is_answered_by_the_new_model(stage: Stage) -> None:
    new = Model("words@2")
    with stage.busy("joy"):
        waiting = stage.queue.ask(["fear"])
        stage.stage.switch(new, stage.model.close)
        asked = stage.queue.ask(["love"])
    assert [answer.model for one in (waiting, asked) for answer in answers(one)] == ["words@2"] * 2
    assert stage.collect() == "words@1"
    eventually(lambda: stage.model.closed)
    assert stage.model.asked == [["joy"]]


def test_batches_that_are_forgotten_do_not_keep_the_desk_waiting(stage: Stage) -> None:
    with stage.busy("joy one"):
        stage.stream("joy two")
        asked = stage.queue.ask(["love"])
        threading.Thread(target=stage.stage.discard).start()
        eventually(lambda: stage.stage._handed == 1)
    assert labels(asked) == ["love"]
    assert stage.model.asked == [["joy one"], ["love"]]


def test_closing_refuses_what_waits_and_what_comes(stage: Stage) -> None:
    with stage.busy("joy"):
        asked = stage.queue.ask(["love"])
        stage.stage.close()
        assert refusal(asked).outcome == "closed"
    with pytest.raises(NotNowError, match="ending"):
        stage.queue.ask(["love"])


def test_closing_waits_for_the_call_under_way(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever closes the stage closes the model next."""
    monkeypatch.setattr(request_queue, "_CLOSE_S", WITHIN_S)
    stage.model.hold.set()
    asked = stage.queue.ask(["love"])
    assert stage.model.entered.wait(WITHIN_S)
    closing = threading.Thread(target=stage.stage.close)
    closing.start()
    assert refusal(asked).outcome == "closed"
    assert stage.model.calls == []
    stage.model.go_on.set()
    closing.join(WITHIN_S)
    assert stage.model.calls == [1]


def test_before_there_is_a_model_nobody_is_answered() -> None:
    queue = RequestQueue(places=PLACES, wait_s=WAIT_S, monotonic=ManualClock().monotonic)
    with pytest.raises(NotNowError, match="starting") as refused:
        queue.ask(["love"])
    assert refused.value.outcome == "closed"


class Running:
    """A loop that a script steps through: what it does between two `yield`s is done between two turns."""

    def __init__(self) -> None:
        self.queue = RequestQueue(places=PLACES, wait_s=WAIT_S, monotonic=ManualClock().monotonic)
        self.rig = Rig(queue=self.queue)

    def run(self, script: Iterator[None]) -> None:
        self.rig.loop.run(lambda: next(script, self) is self, WITHIN_S)

    def models(self) -> list[str]:
        """What answers now, while the loop does nothing."""
        return [answer.model for answer in answers(self.queue.ask(["joy"]))]

    def labelled(self, posts: int) -> Iterator[None]:
        """Turns until so many posts are labelled."""
        deadline = time.monotonic() + WITHIN_S
        while len(self.rig.labels()) < posts:
            assert time.monotonic() < deadline
            time.sleep(0.001)
            yield


def test_an_idle_and_a_paused_loop_answer() -> None:
    running = Running()

    def script() -> Iterator[None]:
        assert running.models() == ["words@1"]
        running.rig.loop.pause(True)
        running.rig.post("joy")
        yield
        yield
        assert running.models() == ["words@1"]
        assert running.rig.labels() == []
        running.rig.loop.pause(False)
        yield from running.labelled(1)
        assert running.models() == ["words@1"]

    running.run(script())
    with pytest.raises(NotNowError, match="ending"):
        running.models()


def test_a_promotion_reaches_the_desk_and_one_before_the_start_from_the_first_answer_on() -> None:
    running = Running()
    running.rig.loop.serve(WordModel("words@2"))

    def script() -> Iterator[None]:
        assert running.models() == ["words@2"]
        running.rig.loop.serve(WordModel("words@3"))
        yield
        yield
        assert running.models() == ["words@3"]

    running.run(script())
    assert running.rig.model.calls == []


def test_texts_that_break_the_model_stop_no_loop() -> None:
    running = Running()

    def script() -> Iterator[None]:
        for _ in range(20):
            failure(running.queue.ask(["broken"]))
        running.rig.post("joy")
        yield from running.labelled(1)
        assert running.models() == ["words@1"]

    running.run(script())
