"""A shadow yields: what it is not asked about is counted."""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from prometheus_client import generate_latest

from tests.support.waiting import eventually
from worker.clock import SystemClock
from worker.metrics import Metrics
from worker.stream.batch import Batch, Entry
from worker.stream.shadow import Shadow
from worker.types import EMOTIONS, Classified, Post, Record


class Slow:
    """Answers joy when it is let, and nothing at all once closed."""

    name = "slow@1"

    def __init__(self) -> None:
        self.asked = threading.Semaphore(0)
        self.let = threading.Semaphore(0)
        self.closed = threading.Event()

    def open(self) -> None:
        pass

    def labels(self, texts: Sequence[str]) -> NDArray[np.intp]:
        self.asked.release()
        self.let.acquire(timeout=30)
        if self.closed.is_set():
            raise RuntimeError("closed")
        return np.full(len(texts), EMOTIONS.index("joy"), np.intp)

    def close(self) -> None:
        self.closed.set()
        self.let.release()


def batch(posts: int) -> tuple[Batch, Classified]:
    entries = [Entry(Record("t", 0, i, b"%d" % i, b"", -1), Post(id=i, text="x")) for i in range(posts)]
    joy = np.full(posts, EMOTIONS.index("joy"))
    return Batch(entries), Classified(np.zeros((posts, len(EMOTIONS))), np.zeros(posts), joy, np.zeros(posts))


def test_while_posts_wait_it_is_asked_about_nothing_and_what_it_had_is_skipped_too() -> None:
    model, metrics = Slow(), Metrics()
    shadow = Shadow(model, 1.0, metrics, SystemClock().monotonic)
    shadow.saw(*batch(100), "live@1", pressed=False)
    model.asked.acquire(timeout=30)  # it is at the first 32 of them
    shadow.saw(*batch(10), "live@1", pressed=True)
    assert shadow.skipped == 78
    model.let.release()
    eventually(lambda: shadow.n == 32, within_s=30)
    assert (shadow.agreed, shadow.skipped) == (32, 78)

    for _ in range(9):
        model.let.release()
    for _ in range(5):  # a few batches at once
        shadow.saw(*batch(10), "live@1", pressed=False)
    eventually(lambda: shadow.n == 82, within_s=30)
    assert shadow.skipped == 78
    shadow.close()
    shadow.join(30)
    exposed = generate_latest(metrics.registry).decode()
    assert 'outcome="skipped"} 78.0' in exposed.replace('model_version="slow@1",', "")


def test_more_than_it_keeps_is_skipped() -> None:
    model = Slow()
    shadow = Shadow(model, 1.0, Metrics(), SystemClock().monotonic)
    shadow.saw(*batch(1), "live@1", pressed=False)
    model.asked.acquire(timeout=30)
    shadow.saw(*batch(1000), "live@1", pressed=False)
    shadow.saw(*batch(100), "live@1", pressed=False)
    assert shadow.skipped == 76
    shadow.close()
    shadow.join(30)


def test_its_end_waits_for_no_answer_and_counts_no_failure() -> None:
    model, metrics = Slow(), Metrics()
    shadow = Shadow(model, 1.0, metrics, SystemClock().monotonic)
    shadow.saw(*batch(10), "live@1", pressed=False)
    model.asked.acquire(timeout=30)
    shadow.close()
    shadow.join(30)
    assert not any(thread.name == "shadow" for thread in threading.enumerate())
    assert shadow.n == 0
    assert 'outcome="failed"} 0.0' in generate_latest(metrics.registry).decode()
