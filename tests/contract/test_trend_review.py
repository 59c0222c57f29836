"""What is offered for review: labels of a slice, in an order that stays random wherever one stops."""

from __future__ import annotations

from tests.support.labels import NOON
from tests.support.trend_stores import World, full_event
from worker.slices import SLICES, Slice
from worker.trends.counting import Deletion, Event, aggregate
from worker.trends.sampling import rank_of
from worker.trends.store import Limits, TrendStore
from worker.trends.windows import Window
from worker.types import LABELS

HOUR = Window(NOON, NOON + 3600, 60)
TWO_HOURS = Window(NOON, NOON + 7200, 60)


def _take(store: TrendStore, *events: Event, partition: int = 0) -> None:
    store.open([partition])
    store.apply(aggregate(partition, 0, 1000, events), None)


def test_a_slice_is_reviewed_in_the_order_of_ranks(world: World) -> None:
    store = world.store(Limits(samples=40))
    slices: list[tuple[Slice, ...]] = [(), ("random",), ("low_margin",), ("random", "low_margin")]
    events = [full_event(n, LABELS[n % 7], at=NOON + n * 60, slices=slices[n % 4]) for n in range(120)]
    _take(store, *events)
    for of in SLICES:
        in_turn = sorted((n for n in range(120) if of in slices[n % 4]), key=_rank)
        assert [sample.id for sample in store.review(TWO_HOURS, of, 40, 100)] == in_turn
        assert [sample.id for sample in store.review(TWO_HOURS, of, 40, limit=4)] == in_turn[:4]
        first_hour = [n for n in in_turn if n < 60]
        assert [sample.id for sample in store.review(HOUR, of, 40)] == first_hour
        later = Window(NOON + 1800, NOON + 3600, 60)  # one that begins within an hour
        assert [sample.id for sample in store.review(later, of, 40)] == [n for n in first_hour if n >= 30]
    assert store.review(Window(NOON - 7200, NOON, 60), "random", 40) == []
    assert world.store().review(HOUR, "random", 40) == []


def test_a_quiet_hour_is_not_reviewed_more_than_a_busy_one(world: World) -> None:
    """Both keep five labels: what is offered goes no further than the busy hour is known whole."""
    store = world.store(Limits(samples=5))
    busy, quiet = range(200), range(200, 210)
    events = [full_event(n, at=NOON + (3600 if n in quiet else 0), slices=("random",)) for n in range(210)]
    _take(store, *events)
    kept = sorted(busy, key=_rank)[:5]
    expected = sorted([*kept, *(n for n in quiet if _rank(n) < _rank(kept[-1]))], key=_rank)
    assert [sample.id for sample in store.review(TWO_HOURS, "random", 5)] == expected
    alone = store.review(Window(NOON + 3600, NOON + 7200, 60), "random", 5)
    assert [sample.id for sample in alone] == sorted(quiet, key=_rank)[:5]


def _rank(post: int) -> int:
    return rank_of(f"tweets/0/{post}")


def test_a_deleted_post_is_not_offered_for_review(world: World) -> None:
    store = world.store(Limits(samples=2))
    ranked = sorted(range(4), key=_rank)
    events = [full_event(n, key=str(n).encode(), slices=SLICES) for n in range(4)]
    store.open([0])
    position = store.apply(aggregate(0, 0, 4, events), None).position
    gone = Deletion(4, str(ranked[0]).encode())
    store.apply(aggregate(0, 4, 5, [], deletions=[gone]), position)
    for of in SLICES:
        assert [sample.id for sample in store.review(HOUR, of, 2)] == [
            ranked[1]
        ]  # and no other takes its place
    assert ranked[0] not in {sample.id for sample in store.samples(HOUR)}
