"""When dead letters say that it is the worker that is broken, or what feeds it. Pure.

Two faults are told apart. A post on which the model fails is nearly always the model's own fault: any text
should have an answer. A record that cannot be read is nearly always its producer's, and stopping for it would
let one producer stop everyone; that limit is off unless asked for, and holds topic by topic.
"""

from __future__ import annotations

from collections import Counter, deque
from typing import NamedTuple

from worker.errors import BadRecordError, DataLossAvertedError
from worker.stream.batch import Batch
from worker.types import Post

MODEL_ERROR = "model_error"
"""Kind of a dead letter on which the model failed."""
_MODEL = ""
"""Where topics are counted: the name of none."""


class Allowed(NamedTuple):
    """How many may fail: too many are more than `n` and more than the share."""

    n: int
    ratio: float
    """Of all, from 0; 1: any number may fail."""

    def exceeded(self, failed: int, asked: int) -> bool:
        """Whether so many of so many are too many."""
        return self.ratio < 1 and failed > self.n and failed > self.ratio * asked


NO_LIMIT = Allowed(0, 1.0)


class Tally(NamedTuple):
    """What one batch, or a second of them, held."""

    asked: Counter[str]
    """Of each topic: records, where that matters. Of `_MODEL`: posts that the model was asked about."""
    failed: Counter[str]
    """Of each topic: records that could not be read. Of `_MODEL`: posts on which it failed."""


class Limits:
    """Compares each batch, and what was committed within the window before it, with what is allowed."""

    def __init__(self, model: Allowed, inputs: Allowed, window_s: float = 60.0) -> None:
        self._model = model
        self._inputs = inputs
        self._window_s = window_s
        self._seconds: deque[tuple[int, Tally]] = deque()
        self._all = Tally(Counter(), Counter())

    def check(self, batch: Batch, now: float) -> Tally:
        """What the batch adds; hand it to `committed` once it is. `now` in monotonic seconds.

        Raises:
            DataLossAvertedError: too much of the batch, or of the window, cannot be labelled.
        """
        tally = _tally(batch, by_topic=self._inputs.ratio < 1)
        self._forget(now - self._window_s)
        for what, failed in tally.failed.items():
            asked = tally.asked[what]
            allowed = self._inputs if what else self._model
            within = (failed + self._all.failed[what], asked + self._all.asked[what])
            for failures, of in ((failed, asked), within):
                if allowed.exceeded(failures, of):
                    raise DataLossAvertedError(_why(what, failures, of, self._window_s))
        return tally

    def committed(self, tally: Tally, now: float) -> None:
        """A batch is published: it counts from now on."""
        second = int(now)
        if not self._seconds or self._seconds[-1][0] != second:
            self._seconds.append((second, Tally(Counter(), Counter())))
        for into in (self._seconds[-1][1], self._all):
            into.asked.update(tally.asked)
            into.failed.update(tally.failed)

    def _forget(self, before: float) -> None:
        while self._seconds and self._seconds[0][0] < before:
            _, old = self._seconds.popleft()
            self._all.asked.subtract(old.asked)
            self._all.failed.subtract(old.failed)


def _tally(batch: Batch, *, by_topic: bool) -> Tally:
    bad = [(entry.record.topic, e) for entry in batch.entries if isinstance(e := entry.what, BadRecordError)]
    failed = Counter(_MODEL if error.kind == MODEL_ERROR else topic for topic, error in bad)
    asked = Counter([entry.record.topic for entry in batch.entries] if by_topic else ())
    asked[_MODEL] = failed[_MODEL] + sum(isinstance(entry.what, Post) for entry in batch.entries)
    return Tally(asked, failed)


def _why(what: str, failed: int, asked: int, window_s: float) -> str:
    where = f"in one batch or within {window_s:g} s; none of this batch was committed"
    if not what:
        return (
            f"the model failed on {failed} of {asked} posts, {where}. Check it (`moodstream model verify`, "
            "`moodstream classify`), then start again; or allow more with worker.dead_letters.model_ratio"
        )
    return (
        f"{failed} of {asked} records of {what} cannot be read, {where}. Look at what writes them and at "
        "dead letters like them (`moodstream topics inspect`), then start again; or allow more with "
        "worker.dead_letters.input_ratio"
    )
