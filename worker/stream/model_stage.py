"""The model in a thread of its own, so that the next batch is fetched while it works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import suppress
from functools import partial
from typing import NamedTuple

import numpy as np

from worker.errors import BadRecordError, DataLossAvertedError
from worker.stream.batch import Batch, Entry
from worker.stream.edges import Model
from worker.stream.limits import MODEL_ERROR
from worker.stream.request_queue import RequestQueue
from worker.types import EMOTIONS, Classified, Post, TopicPartition

IN_A_ROW = 8
_PLACES = 2
_CONTROL = "so happy today"
"""A post that any model has an answer for: one that fails on it too is broken."""
_AND_NOW = "nothing of this batch was committed. Check it"


class Answered(NamedTuple):
    """A batch with the model's answer for each of its posts."""

    batch: Batch
    answer: Classified
    seconds: float = 0.0
    """What the model took for it."""
    began: float = 0.0
    """When it began, in monotonic seconds."""
    model: str = ""
    """`name@version` of the model that answered."""


class _Pending:
    """A batch on its way through the model."""

    def __init__(self, batch: Batch, future: Future[Answered]) -> None:
        self.batch = batch
        self.future = future
        self.dropped: set[TopicPartition] = set()


class ModelStage:
    """Batches through the model, one after the other, in the order they came.

    One is worked on and one waits at the door: when the first is done the model goes on at once, whatever
    the loop's thread is busy with. While none waits there, the model may answer others in between (`serve`).
    """

    def __init__(self, model: Model, monotonic: Callable[[], float], in_a_row: int = IN_A_ROW) -> None:
        """`in_a_row`: most posts one after another on which the model may fail."""
        self._model = model
        self._asked = Asked(model, in_a_row)
        self._in_a_row = in_a_row
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._pending: deque[_Pending] = deque()
        self._queue: RequestQueue | None = None
        self._handed = 0
        """Batches so far; the loop's thread alone writes it."""
        self._begun = 0
        """Of these, the ones that the model has begun; its thread alone writes it."""

    @property
    def busy(self) -> bool:
        """Whether a batch is in the model, or its answer not yet collected."""
        return bool(self._pending)

    @property
    def full(self) -> bool:
        """Whether the place at the door is taken too."""
        return len(self._pending) >= _PLACES

    def submit(self, batch: Batch) -> None:
        """Hand a batch over; not when `full`."""
        assert not self.full  # noqa: S101
        self._handed += 1
        self._pending.append(_Pending(batch, self._thread.submit(self._answer, self._asked, batch)))

    def switch(self, model: Model, retire: Callable[[], None]) -> None:
        """Later batches go to `model`; `retire` is called when the old one has answered the others."""
        self._asked = Asked(model, self._in_a_row)
        self._model = model
        self._thread.submit(retire)

    def serve(self, queue: RequestQueue) -> None:
        """Answer what waits in `queue` too, whenever no batch waits at the door."""
        self._queue = queue
        queue.open(partial(self._thread.submit, self._turn, queue))

    def collect(self, timeout_s: float) -> Answered | None:
        """The oldest batch with its answer, less what was dropped meanwhile; None if it takes longer.

        Raises:
            DataLossAvertedError: the model is broken.
        """
        if not self._pending:
            return None
        oldest = self._pending[0]
        # Asked once only. A batch that was found unfinished, and a moment later finished, must not be taken
        # for collected: it would be lost, and the next one commits the offsets behind it.
        if not oldest.future.done() and (timeout_s <= 0 or not wait([oldest.future], timeout_s).done):
            return None
        self._pending.popleft()
        answered = oldest.future.result()
        return _without(answered, oldest.dropped) if oldest.dropped else answered

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Leave the records of `partitions` out of the answers to come."""
        for pending in self._pending:
            pending.dropped.update(partitions)

    def discard(self) -> None:
        """Forget every batch. The one in the model is waited for: the model is not for two threads."""
        for pending in reversed(self._pending):
            if pending.future.cancel():
                self._handed -= 1
            else:
                pending.future.exception()
        self._pending.clear()
        self._asked.failed_in_a_row = 0  # they come again

    def _turn(self, queue: RequestQueue) -> None:
        """One call for those in the queue, on the model's thread, behind a batch that waits."""
        waits = self._handed > self._begun
        if waits:
            queue.expire()
        if waits or queue.turn(self._model):
            with suppress(RuntimeError):  # closed meanwhile, and the queue with it
                self._thread.submit(self._turn, queue)

    def _answer(self, asked: Asked, batch: Batch) -> Answered:
        self._begun += 1
        start = self._monotonic()
        answered = asked.answer(batch)
        return answered._replace(seconds=self._monotonic() - start, began=start, model=asked.name)

    def close(self) -> None:
        """Do not wait for a batch: a model that hangs must not keep the process from ending."""
        if self._queue is not None:
            self._queue.close()
        self._thread.shutdown(wait=False, cancel_futures=True)


class Asked:
    """A model that may fail: on a post, which then becomes a dead letter, or on all, which ends the worker.

    A failing batch is halved until the post that makes it fail stands alone, so that only this one leaves.
    Each time the model is also asked about a post that is known to be good: if it fails on that too, it is
    the model that is broken and not the post.
    """

    def __init__(self, model: Model, in_a_row: int = IN_A_ROW) -> None:
        self._model = model
        self._in_a_row = in_a_row
        self._control = model.prepare([_CONTROL])
        self.name = model.name
        self.failed_in_a_row = 0

    def answer(self, batch: Batch) -> Answered:
        """Classify a batch. A post on which the model fails becomes a bad record of kind `model_error`.

        Raises:
            DataLossAvertedError: it is the model that is broken.
        """
        return Answered(batch, _stack(self._bisect(batch.posts)))

    def _bisect(self, posts: list[Entry]) -> list[Classified]:
        if not posts:
            return []
        try:
            answers = [self._classified([entry.tokens for entry in posts])]
        except Exception as error:
            if len(posts) == 1:
                self._failed_on(posts[0], error)
                return []
        else:
            self.failed_in_a_row = 0
            return answers
        middle = len(posts) // 2
        return self._bisect(posts[:middle]) + self._bisect(posts[middle:])

    def _failed_on(self, post: Entry, error: Exception) -> None:
        """The model fails on one post alone: is it the post?"""
        try:
            self._classified(self._control)
        except Exception as broken:
            raise DataLossAvertedError(
                f"the model is broken: it fails ({type(broken).__name__}) on any post; "
                f"{_AND_NOW} (`moodstream model verify`), then start again"
            ) from broken
        self.failed_in_a_row += 1
        if self.failed_in_a_row > self._in_a_row:
            raise DataLossAvertedError(
                f"the model failed ({type(error).__name__}) on {self.failed_in_a_row} posts in a row; "
                f"{_AND_NOW} (`moodstream classify`), then start again; or allow more with "
                "worker.dead_letters.model_in_a_row"
            ) from error
        post.what = BadRecordError(MODEL_ERROR, type(error).__name__)

    def _classified(self, rows: list[list[int]]) -> Classified:
        answer = self._model.classify(rows)
        if any(len(column) != len(rows) for column in answer):
            raise ValueError(f"{len(answer.label)} answers for {len(rows)} posts")
        return answer


def prepare(model: Model, entries: Sequence[Entry]) -> None:
    """Give every post its token ids; one on which that fails becomes a bad record of kind `model_error`."""
    posts = [(entry, entry.what.text) for entry in entries if isinstance(entry.what, Post)]
    try:
        rows = model.prepare([text for _, text in posts])
    except Exception as error:
        if len(posts) == 1:
            posts[0][0].what = BadRecordError(MODEL_ERROR, f"tokenising: {type(error).__name__}")
            posts[0][0].tokens = []
            return
        for entry, _ in posts:
            prepare(model, [entry])
        return
    for (entry, _), row in zip(posts, rows, strict=True):
        entry.tokens = row


def _stack(answers: list[Classified]) -> Classified:
    if len(answers) == 1:
        return answers[0]
    if not answers:
        return Classified(np.zeros((0, len(EMOTIONS))), np.zeros(0), np.zeros(0, dtype=np.intp), np.zeros(0))
    return Classified(*(np.concatenate(column) for column in zip(*answers, strict=True)))


def _without(answered: Answered, partitions: Collection[TopicPartition]) -> Answered:
    kept = [entry.partition not in partitions for entry in answered.batch.posts]
    rows = Classified(*(column[np.asarray(kept, dtype=bool)] for column in answered.answer))
    return answered._replace(batch=answered.batch.without(partitions), answer=rows)
