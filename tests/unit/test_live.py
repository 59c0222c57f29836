"""The live feed's parts that know no Redis: what is told, to whom, how fast, and what is lost."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from tests.support.labels import label
from worker.clock import ManualClock
from worker.trends.counting import Batch, Reading, aggregate, decode
from worker.trends.live.feed import FEED_PER_SECOND, Sampler
from worker.trends.live.hub import PER_SECOND, Hub, LiveLabel, News, Tick, Wanted
from worker.trends.queries import Matcher
from worker.types import Record
from worker.web.problems import TooManyError


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


def shown(number: int, **more: object) -> LiveLabel:
    fields: dict[str, object] = {
        "id": number,
        "label": "joy",
        "score": 0.9,
        "source": "web",
        "created_at": datetime(2026, 1, 1, tzinfo=UTC),
        "label_ref": f"emotion-labels/0/{number}",
        **more,
    }
    return LiveLabel(**fields)  # type: ignore[arg-type]


def news(*numbers: int, counted: int | None = None) -> News:
    return News(counted or len(numbers), tuple(map(shown, numbers)))


def batch(n: int, *, partition: int = 0, start: int = 0, **more: Any) -> Batch:
    records = [
        Record("emotion-labels", partition, start + number, None, label(**{"id": start + number, **more}), 0)
        for number in range(n)
    ]
    decoded = decode(records, Reading(queries=Matcher({"7f": "train"})))
    return aggregate(partition, start, start + n, decoded.events)


def ids(labels: object) -> list[object]:
    return [one.id for one in labels]  # type: ignore[attr-defined]


def test_a_listener_gets_what_is_counted_and_its_numbers(clock: ManualClock) -> None:
    hub = Hub(clock)
    with hub.listen(Wanted()) as listener:
        hub.publish(news(1, 2, counted=50))
        assert ids(listener.take()) == [1, 2]
        assert listener.take() == []
        assert listener.tick() == Tick(counted=50, shown=2, lost=0)
        assert listener.tick() == Tick(0, 0, 0)


def test_nobody_gets_more_than_the_rate_and_then_the_newest(clock: ManualClock) -> None:
    hub = Hub(clock)
    with hub.listen(Wanted()) as listener:
        for second in range(5):
            hub.publish(news(*range(1000 * second, 1000 * second + 3 * PER_SECOND)))
            taken = ids(listener.take())
            assert taken == list(range(1000 * second + 2 * PER_SECOND, 1000 * second + 3 * PER_SECOND))
            assert listener.take() == []
            clock.sleep(1)
        tick = listener.tick()
    assert tick.shown == 5 * PER_SECOND
    assert tick.shown + tick.lost == tick.counted == 15 * PER_SECOND


def test_a_slow_listener_costs_nobody_else_anything(clock: ManualClock) -> None:
    hub = Hub(clock)
    with hub.listen(Wanted()) as slow, hub.listen(Wanted()) as quick:
        for number in range(10 * PER_SECOND):
            hub.publish(news(number))
            assert ids(quick.take()) == [number]
            clock.sleep(0.1)
        assert len(slow._waiting) == PER_SECOND
        assert ids(slow.take())[-1] == 10 * PER_SECOND - 1
        assert slow.tick().lost == 9 * PER_SECOND
        assert quick.tick().lost == 0


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Wanted(), [1, 2, 3]),
        (Wanted(source="ios"), [2]),
        (Wanted(lang="de"), [3]),
        (Wanted(query="7f"), [1, 3]),
        (Wanted(query="00"), []),
    ],
)
def test_a_listener_may_ask_for_some(clock: ManualClock, wanted: Wanted, expected: list[int]) -> None:
    hub = Hub(clock)
    with hub.listen(wanted) as listener:
        posts = (
            shown(1, queries=("7f", "8a")),
            shown(2, source="ios"),
            shown(3, lang="de", queries=("7f",)),
        )
        hub.publish(News(3, posts))
        assert ids(listener.take()) == expected


def test_so_many_listen_and_no_more(clock: ManualClock) -> None:
    hub = Hub(clock, most_listeners=2)
    with hub.listen(Wanted()), hub.listen(Wanted()):
        with pytest.raises(TooManyError, match="2 listeners"), hub.listen(Wanted()):
            pass
        assert hub.listeners == 2
    assert hub.listeners == 0
    assert not hub.wait_for_listeners(0)
    with hub.listen(Wanted()):
        assert hub.wait_for_listeners(0)


def test_a_closed_hub_takes_nobody(clock: ManualClock) -> None:
    hub = Hub(clock)
    hub.close()
    assert hub.closed
    with pytest.raises(TooManyError), hub.listen(Wanted()):
        pass


def test_what_is_told_shows_the_label_and_what_it_matches(clock: ManualClock) -> None:
    sampler = Sampler("emotion-labels", clock)
    sampler.add(batch(1, partition=3, start=7, text="no train", lang="en", score=0.123456))
    told = sampler.news()
    assert told is not None
    assert told == News(1, told.labels)
    (one,) = told.labels
    assert (one.id, one.label, one.score, one.text, one.lang) == (7, "joy", 0.1235, "no train", "en")
    assert (one.label_ref, one.queries) == ("emotion-labels/3/7", ("7f",))
    assert sampler.news() is None


def test_text_is_not_told_where_it_must_not_be(clock: ManualClock) -> None:
    sampler = Sampler("emotion-labels", clock, text=False)
    sampler.add(batch(1, text="no train"))
    told = sampler.news()
    assert told is not None
    assert told.labels[0].text is None


def test_of_many_some_are_told_from_every_partition(clock: ManualClock) -> None:
    sampler = Sampler("emotion-labels", clock)
    for partition in range(4):
        sampler.add(batch(500, partition=partition))
    told = sampler.news()
    assert told is not None
    assert (told.counted, len(told.labels)) == (2000, FEED_PER_SECOND)
    assert {one.label_ref.split("/")[1] for one in told.labels} == {"0", "1", "2", "3"}
    assert len({one.label_ref for one in told.labels}) == FEED_PER_SECOND


def test_within_a_second_no_more_is_told_than_a_seconds_worth(clock: ManualClock) -> None:
    sampler = Sampler("emotion-labels", clock)
    told = 0
    for turn in range(100):
        sampler.add(batch(100, start=100 * turn))
        found = sampler.news()
        assert found is not None
        assert found.counted == 100
        told += len(found.labels)
        clock.sleep(0.05)
    assert told == pytest.approx((1 + 99 * 0.05) * FEED_PER_SECOND, abs=1)  # one second's worth was saved


@pytest.mark.parametrize("sizes", [[1], [3, 0, 4], [0], [60, 1, 200], [49, 1], [50], [51]])
def test_what_is_told_is_in_order_and_spread_over_all(clock: ManualClock, sizes: list[int]) -> None:
    sampler = Sampler("emotion-labels", clock)
    for partition, size in enumerate(sizes):
        sampler.add(batch(size, partition=partition))
    told = sampler.news()
    if not sum(sizes):
        assert told is None
        return
    assert told is not None
    places = [label.label_ref.removeprefix("emotion-labels/") for label in told.labels]
    whole = [f"{partition}/{offset}" for partition, size in enumerate(sizes) for offset in range(size)]
    assert len(places) == min(FEED_PER_SECOND, len(whole))
    gaps = [whole.index(b) - whole.index(a) for a, b in pairwise(places)]
    assert all(gap > 0 for gap in gaps)
    assert not gaps or max(gaps) - min(gaps) <= 1
