"""A second model beside the one that serves: asked about the same posts, answering nobody.

It sees posts after their labels are committed, a few at a time, in a process of its own that has only the
time which nobody else wants. Live posts come first: while any are waiting or late it is not asked, and what
was skipped is counted, so that its figures say on how many posts they stand.
"""

from __future__ import annotations

import logging
import queue
import threading
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from worker import metrics as m
from worker.metrics import Metrics
from worker.stream.batch import Batch, Entry
from worker.stream.edges import SecondModel
from worker.types import LABELS, Classified, Post

_AT_ONCE = 32
"""Posts: about 30 ms on two cores. What is asked is answered, whatever comes in meanwhile."""
_BATCHES_WAITING = 4
_SHARES = 1 << 32

log = logging.getLogger(__name__)


class _Task(NamedTuple):
    texts: list[str]
    labels: list[int]
    """What the serving model said."""
    against: str


def chosen(entry: Entry, share: float) -> bool:
    """Whether a post is of the share: by its key, so that all workers and all runs choose the same."""
    record = entry.record
    key = record.key or f"{record.topic}/{record.partition}/{record.offset}".encode()
    return zlib.crc32(key) < share * _SHARES


class Shadow:
    """Compares a model with the one that serves. `saw` belongs to the loop's thread."""

    def __init__(
        self, model: SecondModel, share: float, metrics: Metrics, monotonic: Callable[[], float]
    ) -> None:
        self.model = model
        self._share = share
        self._monotonic = monotonic
        posts = metrics.counter(m.SHADOW_COMPARED)
        self._outcome = {
            outcome: posts.labels(model.name, outcome)
            for outcome in ("agreed", "differed", "skipped", "failed")
        }
        self._labels = metrics.counter(m.SHADOW_LABELS)
        self._seconds = metrics.histogram(m.SHADOW_SECONDS)
        self._tasks: queue.Queue[_Task | None] = queue.Queue(_BATCHES_WAITING)
        self._closing = threading.Event()
        self._pressed = threading.Event()
        self.n = self.agreed = self.skipped = 0
        self.against: str | None = None
        """What serves beside it; the counts begin anew when that changes."""
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def saw(self, batch: Batch, answer: Classified, by: str, *, pressed: bool) -> None:
        """A batch is committed, answered by `by`: ask about it when there is time. Never waits."""
        if pressed:
            self._pressed.set()
        else:
            self._pressed.clear()
        posts = [
            (entry.what.text, label)
            for entry, label in zip(batch.posts, answer.label.tolist(), strict=True)
            if isinstance(entry.what, Post) and chosen(entry, self._share)
        ]
        if not posts:
            return
        if by != self.against:
            self.against, self.n, self.agreed, self.skipped = by, 0, 0, 0
        task = _Task([text for text, _ in posts], [label for _, label in posts], by)
        try:
            self._tasks.put_nowait(task)
        except queue.Full:
            self._skip(len(posts))

    def close(self) -> None:
        """End, whatever it is at, and close the model."""
        self._closing.set()
        with suppress(queue.Full):  # it will look before the next
            self._tasks.put_nowait(None)
        self.model.close()

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self.model.open()
        except Exception as error:  # said again with every post that it does not answer
            log.error("the shadow model %s does not start: %s", self.model.name, error)
        while not self._closing.is_set():
            task = self._tasks.get()
            if task is None:
                break
            for texts, labels in _portions(task):
                if self._pressed.is_set() or self._closing.is_set():
                    self._skip(len(texts))
                else:
                    self._compare(texts, labels, task.against)

    def _compare(self, texts: Sequence[str], labels: Sequence[int], against: str) -> None:
        start = self._monotonic()
        try:
            given = self.model.labels(texts)
        except Exception as error:
            if not self._closing.is_set():
                log.error(
                    "the shadow model %s gave no answer for %d posts: %s", self.model.name, len(texts), error
                )
                self._outcome["failed"].inc(len(texts))
            return
        self._seconds.observe(self._monotonic() - start)
        agreed = int((given == np.asarray(labels)).sum())
        if against == self.against:
            self.n += len(texts)
            self.agreed += agreed
        self._outcome["agreed"].inc(agreed)
        self._outcome["differed"].inc(len(texts) - agreed)
        for index, n in enumerate(np.bincount(given, minlength=len(LABELS)).tolist()):
            if n:
                self._labels.labels(LABELS[index], self.model.name).inc(n)

    def _skip(self, posts: int) -> None:
        self.skipped += posts
        self._outcome["skipped"].inc(posts)


def _portions(task: _Task) -> Iterator[tuple[list[str], list[int]]]:
    for start in range(0, len(task.texts), _AT_ONCE):
        yield task.texts[start : start + _AT_ONCE], task.labels[start : start + _AT_ONCE]
