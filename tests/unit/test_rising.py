from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from worker.stream.rising import brought_again
from worker.types import Record

Place = tuple[str, int, int]
places = st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 2), st.integers(0, 30)), max_size=60)


def record(place: Place) -> Record:
    topic, partition, offset = place
    return Record(topic, partition, offset, None, b"", 0)


@given(places, st.lists(st.integers(0, 60), max_size=5))
def test_it_finds_what_a_slow_look_finds(given: list[Place], cuts: list[int]) -> None:
    """Whatever the batches are that the records come in."""
    last: dict[tuple[str, int], int] = {}
    expected = None
    for place in given:
        if place[2] <= last.get(place[:2], -1):
            expected = place
            break
        last[place[:2]] = place[2]
    reached: dict[tuple[str, int], int] = {}
    found = None
    bounds = [0, *sorted(cut for cut in cuts if cut < len(given)), len(given)]
    for start, end in pairwise(bounds):
        again = brought_again([record(place) for place in given[start:end]], reached)
        if again is not None:
            found = (again.topic, again.partition, again.offset)
            break
    assert found == expected
    if expected is None:
        assert reached == last
