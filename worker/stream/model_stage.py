"""The model in a thread of its own, so that the next batch is fetched while it works on this one."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from typing import NamedTuple

import numpy as np

from worker.errors import BadRecordError, DataLossAvertedError
from worker.stream.batch import Batch, Entry
from worker.stream.edges import Model
from worker.types import EMOTIONS, Classified, TopicPartition

_PLACES = 2
_BROKEN_FROM = 8
"""Posts. Failing on more in a row, or on most of a larger batch, the model is broken and not the posts."""


class Answered(NamedTuple):
    """A batch with the model's answer for each of its posts."""

    batch: Batch
    answer: Classified
    seconds: float = 0.0
    """What the model took for it."""


class _Pending:
    """A batch on its way through the model."""

    def __init__(self, batch: Batch, future: Future[Answered]) -> None:
        self.batch = batch
        self.future = future
        self.dropped: set[TopicPartition] = set()


class ModelStage:
    """Batches through the model, one after the other, in the order they came.

    One is worked on and one waits at the door: when the first is done the model goes on at once, whatever
    the loop's thread is busy with.
    """

    def __init__(self, model: Model, monotonic: Callable[[], float]) -> None:
        self._model = model
        self._monotonic = monotonic
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="model")
        self._pending: deque[_Pending] = deque()
        self._failed_in_a_row = 0

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
        self._pending.append(_Pending(batch, self._thread.submit(self._answer, batch)))

    def collect(self, timeout_s: float) -> Answered | None:
        """The oldest batch with its answer, less what was dropped meanwhile; None if it takes longer.

        Raises:
            DataLossAvertedError: the model fails on most of a batch.
        """
        if not self._pending:
            return None
        oldest = self._pending[0]
        try:
            answered = oldest.future.result(timeout_s)
        except FutureTimeoutError:
            return None
        finally:
            if oldest.future.done():
                self._pending.popleft()
        return _without(answered, oldest.dropped) if oldest.dropped else answered

    def drop(self, partitions: Collection[TopicPartition]) -> None:
        """Leave the records of `partitions` out of the answers to come."""
        for pending in self._pending:
            pending.dropped.update(partitions)

    def discard(self) -> None:
        """Forget every batch. The one in the model is waited for: the model is not for two threads."""
        for pending in reversed(self._pending):
            if not pending.future.cancel():
                pending.future.exception()
        self._pending.clear()

    def _answer(self, batch: Batch) -> Answered:
        start = self._monotonic()
        answered, failed = answer(self._model, batch)
        self._failed_in_a_row = 0 if len(answered.answer.label) else self._failed_in_a_row + failed
        if self._failed_in_a_row > _BROKEN_FROM:
            raise DataLossAvertedError(
                f"the model failed on {self._failed_in_a_row} posts in a row: check it, then start again"
            )
        return answered._replace(seconds=self._monotonic() - start)

    def close(self) -> None:
        """Do not wait: a model that hangs must not keep the process from ending."""
        self._thread.shutdown(wait=False, cancel_futures=True)


def answer(model: Model, batch: Batch) -> tuple[Answered, int]:
    """Classify a batch; also says on how many posts the model failed.

    A post on which it fails becomes a bad record of kind `model_error`.

    A failing batch is halved until the post that makes it fail stands alone, so that only this one leaves.

    Raises:
        DataLossAvertedError: most posts fail, so that the model and not the posts must be broken.
    """
    posts = batch.posts
    answers, failed = _bisect(model, posts)
    if len(failed) > max(_BROKEN_FROM, len(posts) // 2):
        raise DataLossAvertedError(
            f"the model fails on {len(failed)} of {len(posts)} posts ({failed[0].what}); "
            "none of them was committed: check it, then start again"
        )
    return Answered(batch, _stack(answers)), len(failed)


def _bisect(model: Model, posts: list[Entry]) -> tuple[list[Classified], list[Entry]]:
    if not posts:
        return [], []
    try:
        return [model.classify([entry.tokens for entry in posts])], []
    except Exception as error:
        if len(posts) == 1:
            posts[0].what = BadRecordError("model_error", type(error).__name__)
            return [], posts
    middle = len(posts) // 2
    first, first_failed = _bisect(model, posts[:middle])
    second, second_failed = _bisect(model, posts[middle:])
    return first + second, first_failed + second_failed


def _stack(answers: list[Classified]) -> Classified:
    if len(answers) == 1:
        return answers[0]
    if not answers:
        return Classified(np.zeros((0, len(EMOTIONS))), np.zeros(0), np.zeros(0, dtype=np.intp))
    return Classified(*(np.concatenate(column) for column in zip(*answers, strict=True)))


def _without(answered: Answered, partitions: Collection[TopicPartition]) -> Answered:
    kept = [entry.partition not in partitions for entry in answered.batch.posts]
    rows = Classified(*(column[np.asarray(kept, dtype=bool)] for column in answered.answer))
    return answered._replace(batch=answered.batch.without(partitions), answer=rows)
