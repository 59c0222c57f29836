"""When dead letters stop the worker, and when they do not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.errors import BadRecordError, DataLossAvertedError
from worker.settings import DeadLetterSettings
from worker.stream.batch import Batch, Entry
from worker.stream.limits import MODEL_ERROR, NO_LIMIT, Allowed, Limits
from worker.stream.role import limits
from worker.types import Post, Record


def batch(*, good: int = 0, model: int = 0, unread: int = 0, topic: str = "tweets") -> Batch:
    kinds = [None] * good + [MODEL_ERROR] * model + ["invalid_json"] * unread
    return Batch(
        [
            Entry(
                Record(topic, 0, offset, None, b"", 0),
                Post(id=1, text="x") if kind is None else BadRecordError(kind, "why"),
            )
            for offset, kind in enumerate(kinds)
        ]
    )


def commit(judge: Limits, one: Batch, now: float) -> None:
    judge.committed(judge.check(one, now), now)


def test_one_failure_in_a_small_batch_is_no_trouble() -> None:
    commit(limits(DeadLetterSettings()), batch(model=1), 0.0)


def test_a_share_of_one_batch_is_enough() -> None:
    judge = limits(DeadLetterSettings())
    commit(judge, batch(good=10_000), 0.0)
    with pytest.raises(DataLossAvertedError, match=r"the model failed on 9 of 50 posts, .*model_ratio"):
        judge.check(batch(good=41, model=9), 1.0)


def test_small_batches_add_up_and_old_ones_are_forgotten() -> None:
    judge = Limits(Allowed(8, 0.1), NO_LIMIT, window_s=60)
    for second in range(8):
        commit(judge, batch(good=5, model=1), second)
    with pytest.raises(DataLossAvertedError, match="9 of 54 posts"):
        judge.check(batch(good=5, model=1), 8.0)
    judge.check(batch(good=5, model=1), 61.5)


def test_what_was_not_committed_does_not_count() -> None:
    judge = Limits(Allowed(8, 0.1), NO_LIMIT)
    for _ in range(100):
        judge.check(batch(good=5, model=1), 0.0)


def test_garbage_alone_never_stops_the_worker_unless_asked_for() -> None:
    judge = limits(DeadLetterSettings())
    for second in range(10):
        commit(judge, batch(unread=1_001), second)


def test_with_an_input_limit_garbage_in_one_topic_does() -> None:
    judge = limits(DeadLetterSettings(input_ratio=0.5))
    commit(judge, batch(unread=600), 0.0)
    commit(judge, batch(good=5_000, topic="feedback"), 0.5)
    with pytest.raises(DataLossAvertedError, match=r"1200 of 1200 records of tweets .*input_ratio"):
        judge.check(batch(unread=600), 1.0)
    judge.check(batch(unread=600, topic="feedback"), 1.0)


def test_a_ratio_of_one_is_no_limit() -> None:
    Limits(Allowed(0, 1.0), Allowed(0, 1.0)).check(batch(model=1000, unread=1000), 0.0)


@given(
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(0, 5), st.integers(0, 5), st.floats(0, 20)), max_size=40
    ),
    st.integers(0, 10),
    st.floats(0, 1),
)
def test_the_window_is_what_a_plain_count_says(
    batches: list[tuple[int, int, int, float]], n: int, ratio: float
) -> None:
    judge, allowed, window_s, now = Limits(Allowed(n, ratio), NO_LIMIT, 10.0), Allowed(n, ratio), 10.0, 0.0
    kept: list[tuple[float, int, int]] = []
    for good, model, unread, pause_s in batches:
        now += pause_s
        inside = [(g, m) for at, g, m in kept if int(at) >= now - window_s]
        whole = sum(g + m for g, m in inside) + good + model
        failed = sum(m for _, m in inside) + model
        stops = model > 0 and (allowed.exceeded(model, good + model) or allowed.exceeded(failed, whole))
        one = batch(good=good, model=model, unread=unread)
        if stops:
            with pytest.raises(DataLossAvertedError):
                judge.check(one, now)
        else:
            commit(judge, one, now)
            kept.append((now, good, model))
