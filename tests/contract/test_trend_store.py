"""What the trends role may rely on, on every store: counted once, whatever happens."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.labels import NOON, brute_force, counted, event
from tests.support.trend_stores import World
from worker.trends.counting import OTHER, Batch, Cell, Event, aggregate
from worker.trends.store import Applied, Filter, OffsetLostError, Outcome, Position, TrendStore
from worker.trends.windows import Trend, Window
from worker.types import LABELS

ALL_DAY = Window(NOON - 43_200, NOON + 43_200, 60)


def _apply(store: TrendStore, batch: Batch, expected: Position | None) -> Position:
    return store.apply(batch, expected).position


def _read(store: TrendStore, source: str | None = None) -> Counter[tuple[int, str]]:
    return counted(store.read(ALL_DAY, Filter(source)))


def test_a_new_store_knows_no_partition(world: World) -> None:
    store = world.store()
    assert store.open([0, 3]) == {0: None, 3: None}
    assert store.open([]) == {}
    trend = store.read(ALL_DAY)
    assert trend.n == 0
    assert set(trend.totals) == set(LABELS)


def test_counts_and_offset_advance_together(world: World) -> None:
    store = world.store()
    store.open([3])
    events = [event(5), event(6, "fear"), event(9, at=NOON + 60)]
    applied = store.apply(aggregate(3, 0, 10, events), None)
    assert applied.batch is not None
    assert applied.position.offset == 10
    assert store.open([3]) == {3: applied.position}
    assert _read(store) == {(NOON, "joy"): 1, (NOON, "fear"): 1, (NOON + 60, "joy"): 1}


def test_a_batch_that_counts_nothing_still_advances(world: World) -> None:
    store = world.store()
    store.open([0])
    first = _apply(store, aggregate(0, 0, 7, []), None)
    assert store.open([0]) == {0: first}
    assert _apply(store, aggregate(0, 7, 9, [event(8)]), first).offset == 9


def test_a_retry_whose_answer_was_lost_counts_once(world: World) -> None:
    store = world.store()
    store.open([0])
    first = _apply(store, aggregate(0, 0, 1, [event(0)]), None)
    batch = aggregate(0, 1, 3, [event(1), event(2)])
    again = [store.apply(batch, first) for _ in range(3)]
    assert {applied.position for applied in again} == {Position(first.generation, 3)}
    assert _read(store) == {(NOON, "joy"): 3}


def test_an_overlap_is_trimmed_not_skipped(world: World) -> None:
    store = world.store()
    store.open([0])
    start = _apply(store, aggregate(0, 0, 1, [event(0)]), None)
    _apply(store, aggregate(0, 1, 3, [event(1), event(2)]), start)
    zombie = store.apply(aggregate(0, 1, 5, [event(1), event(2), event(3), event(4, "fear")]), start)
    assert zombie.batch is not None
    assert [event.offset for event in zombie.batch.events] == [3, 4]
    assert _read(store) == {(NOON, "joy"): 4, (NOON, "fear"): 1}


def test_a_reader_that_is_behind_changes_nothing(world: World) -> None:
    store = world.store()
    store.open([0])
    start = _apply(store, aggregate(0, 0, 1, [event(0)]), None)
    ahead = _apply(store, aggregate(0, 1, 9, [event(1)]), start)
    assert store.apply(aggregate(0, 1, 5, [event(1)]), start) == Applied(ahead, None)
    assert store.apply(aggregate(0, 0, 8, [event(0), event(1)]), None) == Applied(ahead, None)
    assert _read(store) == {(NOON, "joy"): 2}


def _batches(start: int, end: int, *partitions: int) -> list[Batch]:
    """One label at each offset, of a minute that tells its partition."""
    return [
        aggregate(partition, start, end, [event(at, at=NOON + 60 * partition) for at in range(start, end)])
        for partition in partitions
    ]


def test_batches_of_several_partitions_are_counted_together(world: World) -> None:
    store = world.store()
    store.open([0, 1, 2])
    outcomes = store.prepare(_batches(0, 2, 0, 1, 2)).apply([None] * 3)
    positions = [outcome.position for outcome in outcomes if isinstance(outcome, Applied)]
    assert [position.offset for position in positions] == [2, 2, 2]
    # What is prepared does not depend on where the store stands meanwhile.
    first, second = store.prepare(_batches(2, 3, 0, 1, 2)), store.prepare(_batches(3, 5, 0, 1, 2))
    found = first.apply(positions)
    assert [one.batch is not None for one in found if isinstance(one, Applied)] == [True] * 3
    third, fifth = ([Position(one.generation, offset) for one in positions] for offset in (3, 5))
    counted_now = _batches(3, 5, 0, 1, 2)
    assert second.apply(third) == list(map(Applied, fifth, counted_now))
    assert _read(store) == {(NOON + 60 * partition, "joy"): 5 for partition in range(3)}


def test_of_batches_counted_together_each_stands_for_itself(world: World) -> None:
    """Another reader has counted one, a part of one, and is behind in one; the last is as believed."""
    store = world.store()
    store.open(range(4))
    start = [_apply(store, batch, None) for batch in _batches(0, 1, 0, 1, 2, 3)]
    done, part = _batches(1, 5, 0)[0], _batches(1, 3, 1)[0]
    _apply(store, done, start[0])
    _apply(store, part, start[1])
    lost = aggregate(2, 100, 104, [event(101, at=NOON + 120)])
    asked = [*_batches(1, 5, 0, 1), lost, *_batches(1, 5, 3)]
    believed = Position(start[2].generation, 100)
    before = [start[0], start[1], believed, start[3]]
    zero, one, two, three = store.prepare(asked).apply(before)
    ends = [Position(one.generation, 5) for one in start]
    assert zero in (Applied(ends[0], None), Applied(ends[0], asked[0]))  # nobody can tell whose it was
    assert isinstance(one, Applied)
    assert one.position == ends[1]
    assert one.batch is not None
    assert [event.offset for event in one.batch.events] == [3, 4]
    assert isinstance(two, OffsetLostError)
    assert (two.partition, two.expected, two.stored) == (2, believed, start[2])
    assert three == Applied(ends[3], asked[3])
    assert _read(store) == {
        (NOON, "joy"): 5, (NOON + 60, "joy"): 5, (NOON + 120, "joy"): 1, (NOON + 180, "joy"): 5,
    }  # fmt: skip


def test_what_was_prepared_and_applied_twice_counts_once(world: World) -> None:
    store = world.store()
    store.open([0, 1])
    prepared = store.prepare(_batches(0, 3, 0, 1))
    outcomes = [prepared.apply([None, None]) for _ in range(3)]
    assert [list(map(_offset, of_one)) for of_one in outcomes] == [[3, 3]] * 3
    assert _read(store) == {(NOON, "joy"): 3, (NOON + 60, "joy"): 3}


def _offset(outcome: Outcome) -> int:
    assert isinstance(outcome, Applied)
    return outcome.position.offset


def test_two_that_begin_together_count_once(world: World) -> None:
    store = world.store()
    store.open([0])
    first = _apply(store, aggregate(0, 0, 2, [event(0), event(1)]), None)
    second = _apply(store, aggregate(0, 0, 3, [event(0), event(1), event(2)]), None)
    assert second == Position(first.generation, 3)
    assert _read(store) == {(NOON, "joy"): 3}


def test_a_store_that_lost_data_sends_the_reader_back(world: World) -> None:
    store = world.store()
    store.open([0])
    believed = Position("gone", 100)
    with pytest.raises(OffsetLostError) as lost:
        store.apply(aggregate(0, 100, 110, [event(105)]), believed)
    assert (lost.value.partition, lost.value.expected, lost.value.stored) == (0, believed, None)
    earlier = _apply(store, aggregate(0, 0, 50, [event(1)]), None)
    with pytest.raises(OffsetLostError) as lost:
        store.apply(aggregate(0, 100, 110, [event(105)]), believed)
    assert lost.value.stored == earlier
    assert _read(store) == {(NOON, "joy"): 1}


def test_a_topic_that_begins_again_is_counted_on_top(world: World) -> None:
    """The reader decides that (a topic was deleted and created); the store only compares."""
    store = world.store()
    store.open([0])
    old = _apply(store, aggregate(0, 0, 1000, [event(1)]), None)
    new = _apply(store, aggregate(0, 0, 5, [event(2)]), old)
    assert new == Position(old.generation, 5)
    assert _read(store) == {(NOON, "joy"): 2}


def test_partitions_are_merged_on_reading(world: World) -> None:
    store = world.store()
    store.open([0, 1, 11])
    for partition in (0, 1, 11):
        store.apply(aggregate(partition, 0, 1, [event(0, at=NOON + partition * 60)]), None)
    assert _read(store) == {(NOON, "joy"): 1, (NOON + 60, "joy"): 1, (NOON + 660, "joy"): 1}
    assert store.read(Window(NOON, NOON + 3600, 3600)).totals["joy"] == 3


def test_a_window_holds_its_start_and_not_its_end(world: World) -> None:
    store = world.store()
    store.open([0])
    at = [NOON - 1, NOON, NOON + 299, NOON + 300]
    store.apply(aggregate(0, 0, 4, [event(i, at=seconds) for i, seconds in enumerate(at)]), None)
    trend = store.read(Window(NOON, NOON + 300, 60))
    assert trend.counts["joy"] == [1, 0, 0, 0, 1]
    assert (trend.n, trend.totals["joy"], trend.totals["anger"]) == (2, 2, 0)


def test_both_resolutions_agree(world: World) -> None:
    store = world.store()
    store.open([0])
    events = [event(i, LABELS[i % 7], at=NOON + 977 * i) for i in range(200)]
    store.apply(aggregate(0, 0, 200, events), None)
    end = NOON + 5 * 86_400
    by_minute, by_hour = store.read(Window(NOON, end, 60)), store.read(Window(NOON, end, 3600))
    assert by_minute.totals == by_hour.totals == store.read(Window.around(NOON, end, 86_400)).totals
    assert by_minute.n == 200


def test_times_before_1970_and_far_ahead_are_kept(world: World) -> None:
    store = world.store()
    store.open([0])
    store.apply(aggregate(0, 0, 2, [event(0, at=-3600), event(1, at=4_102_444_800)]), None)
    assert store.read(Window(-7200, 0, 60)).counts["joy"][60] == 1
    assert store.read(Window(4_102_444_800, 4_102_448_400, 3600)).n == 1


@pytest.mark.parametrize("source", ["", "a|b|c", "7|joy|x", "ünï → 文", "new\nline", "{tag}:x"])
def test_any_name_of_a_source_is_safe(world: World, source: str) -> None:
    store = world.store()
    store.open([0])
    store.apply(aggregate(0, 0, 2, [event(0, source=source), event(1, source="plain")]), None)
    assert _read(store, source) == {(NOON, "joy"): 1}
    assert _read(store) == {(NOON, "joy"): 2}


def test_sources_beyond_the_limit_count_as_other(world: World) -> None:
    store = world.store(max_sources=2)
    store.open([0])
    events = [event(i, source=source) for i, source in enumerate(["a", "b", "c", "a", "d", "other", "c"])]
    store.apply(aggregate(0, 0, 7, events), None)
    found = {source: _read(store, source)[NOON, "joy"] for source in ("a", "b", "c", "d", OTHER)}
    assert found == {"a": 2, "b": 1, "c": 0, "d": 0, OTHER: 4}
    assert _read(store) == {(NOON, "joy"): 7}


_CELLS = st.builds(
    Cell,
    minute=st.integers(NOON // 60, NOON // 60 + 200),
    emotion=st.sampled_from(LABELS),
    source=st.sampled_from(["a", "b", "c|d", "e", "other", ""]),
)
_CUTS = st.lists(st.integers(1, 40), max_size=12)


def _log(cells: list[Cell], gaps: list[int]) -> tuple[list[Event], int]:
    """Events with gaps between their offsets, and the offset after the last."""
    events, offset = [], 0
    for number, cell in enumerate(cells):
        offset += gaps[number % len(gaps)]
        events.append(Event(offset, cell))
        offset += 1
    return events, offset


def _between(events: list[Event], start: int, end: int) -> Batch:
    return aggregate(0, start, end, [event for event in events if start <= event.offset < end])


class Reader:
    """A reader as the loop is one: goes on from where it believes to be, and back where it is sent."""

    def __init__(self, world: World, events: list[Event], end: int) -> None:
        self._world, self._events, self._end = world, events, end
        self.store = world.store()
        self.belief = self.store.open([0])[0]
        self._last: tuple[Batch, Position | None] | None = None

    def read(self, size: int) -> None:
        start = self.belief.offset if self.belief is not None else 0
        if start < self._end:
            self._last = _between(self._events, start, min(self._end, start + size)), self.belief
            self.replay(size)

    def replay(self, _size: int) -> None:
        """The same script again: its answer was lost."""
        if self._last is None:
            return
        try:
            self.belief = self.store.apply(*self._last).position
        except OffsetLostError as lost:
            self.belief = lost.stored

    def crash(self, _size: int) -> None:
        """Between counting and noting it: the next one asks the store."""
        self.belief, self._last = self.store.open([0])[0], None

    def err(self, size: int) -> None:
        """Believe in an offset that the store does not have."""
        if self.belief is not None:
            self.belief = self.belief._replace(offset=size)

    def wipe(self, _size: int) -> None:
        self.store = self._world.store()
        self.store.open([0])


@settings(max_examples=100, deadline=None)
@given(
    cells=st.lists(_CELLS, min_size=10, max_size=60),
    gaps=st.lists(st.integers(0, 3), min_size=1, max_size=5),
    moves=st.lists(
        st.tuples(
            st.sampled_from([Reader.read, Reader.read, Reader.replay, Reader.crash, Reader.err, Reader.wipe]),
            st.booleans(),
            st.integers(1, 30),
        ),
        min_size=8,
        max_size=30,
    ),
)
def test_whatever_happens_each_label_counts_once(
    world: World,
    cells: list[Cell],
    gaps: list[int],
    moves: list[tuple[Callable[[Reader, int], None], bool, int]],
) -> None:
    """A reader and a zombie: replays, overlaps, lost answers, wrong beliefs, crashes and lost data."""
    events, end = _log(cells, gaps)
    reader, zombie = Reader(world, events, end), Reader(world, events, end)
    for move, by_zombie, size in moves:
        move(zombie if by_zombie else reader, size)
        reader.store = zombie.store = zombie.store if by_zombie else reader.store
    reader.crash(0)
    reader.read(end)
    assert _read(reader.store) == brute_force(cells)
    assert reader.belief is not None
    assert reader.belief.offset == end


@settings(max_examples=30, deadline=None)
@given(cells=st.lists(_CELLS, min_size=1, max_size=60), first=_CUTS, second=_CUTS, limit=st.integers(1, 4))
def test_the_cut_into_batches_changes_nothing(
    world: World, cells: list[Cell], first: list[int], second: list[int], limit: int
) -> None:
    """Not even which sources are named: a rebuild gives the same numbers."""
    events, end = _log(cells, [0])
    seen: list[dict[str, Trend]] = []
    for cuts in (first, second):
        store = world.store(max_sources=limit)
        position = store.open([0])[0]
        start = 0
        for size in [*cuts, end]:
            stop = min(end, start + size)
            if start < stop:
                position = store.apply(_between(events, start, stop), position).position
            start = stop
        sources = {cell.source for cell in cells} | {OTHER}
        seen.append({source: store.read(ALL_DAY, Filter(source)) for source in sources})
    assert seen[0] == seen[1]
    assert sum(trend.n for trend in seen[0].values()) == len(cells)
