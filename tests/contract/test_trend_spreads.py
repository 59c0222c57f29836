"""How labels are spread: every store answers what counting the labels one by one gives."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.labels import NOON
from tests.support.trend_stores import CLOCK, World, full_event
from worker.clock import ManualClock
from worker.distribution import (
    COLUMNS,
    CONFIDENCE_EDGES,
    SHAPE,
    WIDTH,
    confidence_column,
    language_column,
    length_column,
)
from worker.trends import shapes
from worker.trends.counting import Event, aggregate
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.shapes import STEP, observed, rows_of
from worker.trends.store import Limits, TrendStore
from worker.trends.windows import DAY, HOUR, Window
from worker.types import LABELS, LabelName

FINE = Window(NOON, NOON + HOUR, STEP)
HOURS = Window(NOON - 12 * HOUR, NOON + 12 * HOUR, HOUR)


def said(offset: int, emotion: LabelName = "joy", *, model: str = "a@1", **more: Any) -> Event:
    event = full_event(offset, emotion, **more)
    assert event.label is not None
    event.label.model = model
    return event


def take(store: TrendStore, *events: Event, start: int = 0) -> None:
    [position] = store.open([0]).values()
    store.apply(aggregate(0, start, start + len(events), events), position)


@pytest.mark.parametrize(
    ("column", "bins"),
    [
        ({confidence_column(score) for score in np.linspace(0, 1, 2001)}, COLUMNS["confidence"]),
        ({length_column(n) for n in range(2001)}, COLUMNS["length"]),
        ({language_column(tag) for tag in (*["en", "es", "pt", "fr", "de", "it", "nl", "ja", "ko", "zh",
        "ar", "hi", "id", "tr", "ru"], "xx", None)},
         COLUMNS["language"]),
    ],
)  # fmt: skip
def test_bins_are_all_used_and_meet_no_others(column: set[int], bins: slice) -> None:
    assert sorted(column) == list(range(WIDTH))[bins]


def test_language_tags_are_read_by_their_first_part() -> None:
    assert language_column("pt-BR") == language_column("PT_br") == language_column("pt")
    assert language_column("") == language_column(None) != language_column("tlh")


def test_each_label_counts_once_by_model_label_and_bin(world: World) -> None:
    store = world.store()
    take(
        store,
        said(0, score=0.92, text="x" * 30, lang="en"),
        said(1, score=0.93, text="x" * 30, lang="en", at=NOON + 299),
        said(2, "fear", score=0.2, text="", lang=None, at=NOON + 300),
        said(3, "fear", model="b|2", at=NOON + 3599),
    )
    found = store.spreads(FINE)
    assert list(found) == ["a@1", "b|2"]
    a = found["a@1"]
    assert a.shape == (12, *SHAPE)
    joy, fear = LABELS.index("joy"), LABELS.index("fear")
    assert a[0, joy, confidence_column(0.92)] == 2
    assert a[0, joy, length_column(30)] == 2
    assert a[0, joy, language_column("en")] == 2
    assert a[1, fear].sum() == 2  # no text: no length
    assert found["b|2"][11, fear].sum() == 3
    by_hour = store.spreads(HOURS)
    assert (by_hour["a@1"][12] == a.sum(axis=0)).all()
    assert by_hour["a@1"].sum() == a.sum()


def test_a_question_that_is_not_kept_is_refused(world: World) -> None:
    with pytest.raises(ValueError, match="by the hour"):
        world.store().spreads(Window(NOON, NOON + HOUR, 60))


def test_nothing_is_counted_where_nothing_is_kept(world: World) -> None:
    store = world.store(Limits(shapes_s=0))
    take(store, said(0))
    assert store.spreads(FINE) == {}


def test_labels_without_model_are_in_no_spread(world: World) -> None:
    store = world.store()
    take(store, said(0, model=""))
    assert store.spreads(FINE) == {}


def test_a_topic_of_countless_models_fills_no_memory(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.trends.delta.MOST_FIELDS", 30)
    store = world.store()
    take(store, *(said(n, model=f"m@{n % 10}") for n in range(100)))
    take(store, *(said(n, model=f"n@{n}") for n in range(100, 300)), start=100)
    most = store.spreads(HOURS)
    if isinstance(store, MemoryTrendStore):  # the yardstick keeps every label; it shows as many models
        assert len(most) == 16
        return
    assert all(name.startswith("m@") for name in most)
    take(store, said(300, model="m@0"), start=300)
    assert store.spreads(HOURS)["m@0"].sum() == 33


def test_long_names_are_counted_together(world: World) -> None:
    store = world.store()
    take(store, said(0, model="x" * (shapes.MAX_MODEL + 1)), said(1, model="x" * shapes.MAX_MODEL))
    assert set(store.spreads(FINE)) == {"other", "x" * shapes.MAX_MODEL}


events = st.lists(
    st.builds(
        said,
        st.just(0),
        st.sampled_from(LABELS),
        model=st.sampled_from(["a@1", "b@2"]),
        at=st.integers(NOON - 5 * HOUR, NOON + 5 * HOUR),
        score=st.floats(0, 1),
        text=st.text(max_size=300),
        lang=st.sampled_from([None, "en", "de-AT", "xx"]),
    ),
    max_size=30,
)


@settings(max_examples=20, deadline=None)
@given(events=events, cut=st.integers(0, 30))
def test_every_store_gives_the_yardsticks_answer(world: World, events: list[Event], cut: int) -> None:
    numbered = [event._replace(offset=number) for number, event in enumerate(events)]
    store, plain = world.store(), MemoryTrendStore(CLOCK)
    for one in (store, plain):
        for part, start in ((numbered[:cut], 0), (numbered[cut:], min(cut, len(numbered)))):
            if part:
                take(one, *part, start=start)
    for window in (FINE, HOURS):
        found, expected = store.spreads(window), plain.spreads(window)
        assert found.keys() == expected.keys()
        assert all((found[model] == expected[model]).all() for model in found)


def test_hours_outlive_the_fine_slots() -> None:
    clock = ManualClock(NOON)
    store = MemoryTrendStore(clock)
    take(store, said(0))
    clock.now += 3 * DAY
    assert store.spreads(FINE) == {}
    assert store.spreads(HOURS)["a@1"].sum() == 3
    clock.now += 40 * DAY
    assert store.spreads(HOURS) == {}


def test_redis_is_told_how_long_to_keep_them() -> None:
    due: dict[str, int] = {}
    rows = rows_of(observed([said(0)]), 35 * DAY, due.setdefault)
    hour = NOON // HOUR
    assert [(key, kept_s) for key, kept_s, _ in rows] == list(due.items())
    assert due == {f"h:{hour}:x": 2 * DAY, f"d:{hour // 24}:x": 35 * DAY}


@given(score=st.floats(0, 1), edge=st.sampled_from([*CONFIDENCE_EDGES, 0.0, 1.0]))
def test_the_table_of_confidences_is_the_search(score: float, edge: float) -> None:
    for one in (round(score, 6), edge):
        [column] = [
            spot.column for spot in observed([said(0, score=one, text="", lang=None)])
            if spot.column < COLUMNS["confidence"].stop
        ]  # fmt: skip
        assert column == confidence_column(one)
