"""Topics by weight, without Kafka."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.stream.fair import Queues
from worker.types import Record, TopicPartition

TWEETS, FEEDBACK = "tweets", "feedback"


def records(topic: str, n: int, partition: int = 0, start: int = 0, size: int = 1) -> list[Record]:
    return [Record(topic, partition, offset, None, b"v" * size, 0) for offset in range(start, start + n)]


def queues(ahead: int = 1000, max_bytes: int = 1_000_000, **weights: int) -> Queues:
    return Queues(weights, max_bytes=max_bytes, ahead=ahead)


def share(taken: list[Record], topic: str) -> float:
    return sum(record.topic == topic for record in taken) / len(taken)


@pytest.mark.parametrize(("weights", "expected"), [({}, 0.5), ({FEEDBACK: 4}, 0.8), ({TWEETS: 9}, 0.1)])
def test_while_both_wait_each_has_its_share(weights: dict[str, int], expected: float) -> None:
    waiting = queues(**weights)
    for partition in range(12):
        waiting.add(records(TWEETS, 1000, partition))
    waiting.add(records(FEEDBACK, 3000))
    assert share(waiting.take(2000), FEEDBACK) == pytest.approx(expected, abs=0.02)


def test_what_one_has_not_the_others_get() -> None:
    waiting = queues(feedback=4)
    waiting.add(records(TWEETS, 100))
    waiting.add(records(FEEDBACK, 3))
    assert len(waiting.take(1000)) == 103
    assert len(waiting) == 0


def test_silence_is_no_claim() -> None:
    waiting = queues()
    waiting.add(records(TWEETS, 5000))
    waiting.take(3000)
    waiting.add(records(FEEDBACK, 3000))
    assert share(waiting.take(1000), FEEDBACK) == pytest.approx(0.5, abs=0.02)


def test_a_partition_with_little_does_not_wait_for_one_with_much() -> None:
    waiting = queues()
    waiting.add(records(TWEETS, 5000))
    waiting.add(records(TWEETS, 10, partition=1))
    assert sum(record.partition == 1 for record in waiting.take(50)) == 10


def test_what_is_ahead_is_held_until_half_of_it_is_taken() -> None:
    waiting = queues(ahead=100)
    waiting.add(records(TWEETS, 150))
    waiting.add(records(FEEDBACK, 99))
    held = frozenset({TopicPartition(TWEETS, 0)})
    assert waiting.ahead() == held
    waiting.take(100)
    assert waiting.ahead() == held
    waiting.take(149)
    assert waiting.ahead() == frozenset()


def test_of_many_partitions_less_is_enough() -> None:
    waiting = queues(ahead=2048)
    for partition in range(300):
        waiting.add(records(TWEETS, 110, partition))
    assert len(waiting.ahead()) == 300


def test_large_records_hold_everything() -> None:
    waiting = queues(max_bytes=1000)
    waiting.add(records(TWEETS, 2, size=600))
    waiting.add(records(FEEDBACK, 1))
    assert waiting.ahead() == {TopicPartition(TWEETS, 0), TopicPartition(FEEDBACK, 0)}
    waiting.take(2)
    assert waiting.ahead() == frozenset()


STEP = st.one_of(
    st.tuples(st.sampled_from([TWEETS, FEEDBACK, "third"]), st.integers(0, 2), st.integers(1, 60)),
    st.integers(1, 80),
    st.tuples(st.sampled_from([TWEETS, FEEDBACK]), st.integers(0, 2)),
)


@given(st.lists(STEP, max_size=40), st.integers(1, 9))
def test_nothing_is_lost_doubled_or_out_of_order(
    steps: list[int | tuple[str, int] | tuple[str, int, int]], weight: int
) -> None:
    """Arrivals, takings and revocations in any order, against plain lists."""
    waiting = queues(ahead=50, feedback=weight)
    expected: dict[tuple[str, int], list[Record]] = {}
    next_offset: Counter[tuple[str, int]] = Counter()
    for step in [*steps, *([100] * 30)]:
        if isinstance(step, int):
            taken = waiting.take(step)
            assert len(taken) == min(step, sum(map(len, expected.values())))
            for record in taken:
                assert expected[record.topic, record.partition].pop(0) == record
        elif len(step) == 2:
            waiting.drop([TopicPartition(*step)])
            expected.pop(step, None)
        else:
            topic, partition, n = step
            came = records(topic, n, partition, next_offset[topic, partition])
            next_offset[topic, partition] += n
            waiting.add(came)
            expected.setdefault((topic, partition), []).extend(came)
        assert len(waiting) == sum(map(len, expected.values()))
        assert waiting.ahead() <= {TopicPartition(*at) for at, some in expected.items() if some}
    assert len(waiting) == 0
    assert waiting.ahead() == frozenset()
