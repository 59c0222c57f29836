"""What the loop tells about itself: one object, so that the loop's steps hold no metric code."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np

from worker import metrics as m
from worker.errors import BadRecordError
from worker.metrics import Metrics
from worker.stream.batch import Batch, Entry
from worker.types import LABELS, Classified, Post
from worker.web.health import Health

_COUNTED = 16
"""The words of one post of so many are counted: splitting all would cost a twentieth of the host's speed."""
_ENDS = 2
"""Special ids of a row."""


class Meter:
    """Feeds the metrics and the health of a worker."""

    def __init__(self, metrics: Metrics, health: Health) -> None:
        self._health = health
        self._step = metrics.histogram(m.STEP_SECONDS)
        self._consumed = metrics.counter(m.CONSUMED)
        self._truncated = metrics.counter(m.TRUNCATED)
        self._words = metrics.counter(m.WORDS)
        self._pieces = metrics.counter(m.WORD_PIECES)
        self._published = metrics.counter(m.PUBLISHED)
        self._labels = metrics.counter(m.LABELS)
        self._energy = metrics.counter(m.ENERGY)
        self._squares = metrics.counter(m.ENERGY_SQUARES)
        self._dead = metrics.counter(m.DEAD_LETTERS)
        self._transactions = metrics.counter(m.TRANSACTIONS)
        self._records = metrics.histogram(m.BATCH_RECORDS)
        self._tokens = metrics.histogram(m.BATCH_TOKENS)
        self._latency = metrics.bulk_histogram(m.LATENCY)
        self._confidence = metrics.bulk_histogram(m.CONFIDENCE)

    def moved(self) -> None:
        """The loop has made a turn and does not wait for the model alone."""
        self._health.beat()

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Time one step."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self._step.labels(name).observe(time.perf_counter() - start)

    def classified(self, seconds: float) -> None:
        """The model has answered a batch, in so long."""
        self._step.labels("classify").observe(seconds)

    def took(self, entries: Sequence[Entry], was_cut: Callable[[Sequence[int]], bool]) -> None:
        """Records were taken and prepared; `was_cut` says of a row whether its text was longer than it."""
        for topic, n in Counter(entry.record.topic for entry in entries).items():
            self._consumed.labels(topic).inc(n)
        self._truncated.inc(sum(was_cut(entry.tokens) for entry in entries))
        for entry in entries[::_COUNTED]:
            if isinstance(entry.what, Post) and len(entry.tokens) > _ENDS and not was_cut(entry.tokens):
                self._words.inc(len(entry.what.text.split()))
                self._pieces.inc(len(entry.tokens) - _ENDS)

    def batched(self, batch: Batch) -> None:
        """A batch goes to the model."""
        self._records.observe(len(batch.entries))
        self._tokens.observe(batch.tokens)

    def committed(self, batch: Batch, answer: Classified, model: str, now: float) -> None:
        """A batch is published and committed; `model` answered, `now` in seconds since the epoch."""
        self._transactions.labels("committed").inc()
        outcomes: Counter[tuple[str, str]] = Counter()
        for entry in batch.entries:
            what = entry.what
            if isinstance(what, Post):
                outcomes[entry.record.topic, "label"] += 1
            elif isinstance(what, BadRecordError):
                outcomes[entry.record.topic, "dead_letter"] += 1
                self._dead.labels(what.kind).inc()
            else:
                outcomes[entry.record.topic, "deletion"] += 1
        for key, n in outcomes.items():
            self._published.labels(*key).inc(n)
        energy = np.maximum(answer.energy, 0.0)
        sums, squares = (np.bincount(answer.label, of, len(LABELS)).tolist() for of in (energy, energy**2))
        for index, n in enumerate(np.bincount(answer.label, minlength=len(LABELS)).tolist()):
            if n:
                self._labels.labels(LABELS[index], model).inc(n)
                self._energy.labels(LABELS[index], model).inc(sums[index])
                self._squares.labels(LABELS[index], model).inc(squares[index])
        taken = np.array([entry.record.timestamp_ms for entry in batch.entries], dtype=np.float64)
        self._latency.observe_all(np.maximum(now - taken[taken >= 0] / 1000, 0.0))
        given = np.column_stack([answer.scores, answer.neutral])[np.arange(len(answer.label)), answer.label]
        self._confidence.observe_all(given)

    def aborted(self) -> None:
        """A publication was rolled back."""
        self._transactions.labels("aborted").inc()
