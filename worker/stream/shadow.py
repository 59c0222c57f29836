"""A second model beside the one that serves: asked about the same posts, answering nobody.

It sees posts after their labels are committed, a few at a time, in a process of its own that has only the
time which nobody else wants. Live posts come first: while any are waiting or late it is not asked, and what
was skipped is counted, so that its figures say on how many posts they stand.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from worker import metrics as m
from worker.metrics import Metrics
from worker.stream.batch import Batch, Entry
from worker.stream.edges import SecondModel
from worker.types import LABELS, Classified, Post

_AT_ONCE = 32
"""Posts: about 30 ms on two cores. What is asked is answered, whatever comes in meanwhile."""
_WAITING = 1024
"""Posts; a burst is worked off when there is time, more would only be older."""
_SHARES = 1 << 32

log = logging.getLogger(__name__)


class _Asked(NamedTuple):
    text: str
    label: int
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
        self._waiting: deque[_Asked] = deque()
        self._changed = threading.Condition()
        self._closing = False
        self.n = self.agreed = self.skipped = 0
        self.against: str | None = None
        """What serves beside it; the counts begin anew when that changes."""
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def saw(self, batch: Batch, answer: Classified, by: str, *, pressed: bool) -> None:
        """A batch is committed, answered by `by`: ask about it when there is time. Waits for no answer."""
        posts = [
            _Asked(entry.what.text, label, by)
            for entry, label in zip(batch.posts, answer.label.tolist(), strict=True)
            if isinstance(entry.what, Post) and chosen(entry, self._share)
        ]
        with self._changed:
            if posts and by != self.against:
                self.against, self.n, self.agreed, self.skipped = by, 0, 0, 0
            room = 0 if pressed else _WAITING - len(self._waiting)
            if pressed:
                posts += self._waiting
                self._waiting.clear()
            self._skip(max(0, len(posts) - room))
            self._waiting.extend(posts[:room])
            self._changed.notify()

    def close(self) -> None:
        """End, whatever it is at, and close the model."""
        with self._changed:
            self._closing = True
            self._changed.notify()
        self.model.close()

    def join(self, timeout_s: float) -> None:
        """Wait until it has ended."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self.model.open()
        except Exception as error:  # said again with every post that it does not answer
            log.error("the shadow model %s does not start: %s", self.model.name, error)
        while posts := self._next():
            self._compare([post.text for post in posts], [post.label for post in posts], posts[0].against)

    def _next(self) -> list[_Asked]:
        """The next few, which one model has answered; none when there is an end."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
            if self._closing:
                return []
            first = self._waiting[0]
            posts: list[_Asked] = []
            while self._waiting and len(posts) < _AT_ONCE and self._waiting[0].against == first.against:
                posts.append(self._waiting.popleft())
            return posts

    def _compare(self, texts: Sequence[str], labels: Sequence[int], against: str) -> None:
        start = self._monotonic()
        try:
            given = self.model.labels(texts)
        except Exception as error:
            if not self._closing:
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
