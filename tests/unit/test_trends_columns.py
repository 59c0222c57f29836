"""Columns of labels, and adding up in them, against the slow and obvious way."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.clock import ManualClock
from worker.distribution import confidence_column, language_column, length_column
from worker.trends.columns import Columns, Tally, runs
from worker.trends.counting import Cell, CountedLabel, Event
from worker.trends.sample_bounds import SampleBounds
from worker.trends.sampling import HIGHEST_RANK
from worker.trends.shapes import MAX_MODEL, Spot, observed
from worker.trends.windows import SCORE_UNITS
from worker.types import LABELS

_MINUTES = st.integers(-(10**9), 4 * 10**9)
"""Also those of the years 1 and 9999."""
_NAMES = st.sampled_from(["", "a", "b", "web", "é"])
_EVENTS = st.lists(
    st.builds(
        Event,
        offset=st.integers(0, 2**62),
        cell=st.builds(Cell, _MINUTES, st.sampled_from(LABELS), _NAMES),
        score=st.integers(0, 10**6),
        lang=st.none() | _NAMES,
        author=st.none() | _NAMES,
        queries=st.lists(_NAMES, unique=True, max_size=3),
        slices=st.sampled_from([(), ("random",), ("random", "low_margin")]),
    ),
    max_size=30,
)


def _series_of(event: Event) -> dict[str, Sequence[str]]:
    return {
        "a": [""],
        "e": [event.cell.emotion],
        "s": [event.cell.source],
        "l": [] if event.lang is None else [event.lang],
        "q": event.queries,
        "r": event.slices,
    }


@given(_EVENTS)
def test_each_label_is_in_the_series_that_it_names(events: list[Event]) -> None:
    columns = Columns.of(events)
    for letter in "aeslqr":
        row, series = columns.members(letter)
        found = [(int(at), *columns.series[one]) for at, one in zip(row, series, strict=True)]
        assert found == [
            (at, letter, name) for at, event in enumerate(events) for name in _series_of(event)[letter]
        ]
    assert columns.minute.tolist() == [event.cell.minute for event in events]
    assert columns.score.tolist() == [event.score for event in events]
    assert [LABELS[one] for one in columns.emotion] == [event.cell.emotion for event in events]
    wrote = [None if one < 0 else columns.authors[one] for one in columns.author]
    assert wrote == [event.author for event in events]
    assert columns.names("s") == list(dict.fromkeys(event.cell.source for event in events))


@given(st.lists(st.tuples(st.integers(-3, 3), _MINUTES, st.integers(0, 10**6))))
def test_a_tally_adds_up_what_has_the_same_keys(rows: list[tuple[int, int, int]]) -> None:
    first, second, weights = (
        np.array(column, np.int64) for column in (zip(*rows, strict=True) if rows else ([],) * 3)
    )
    tally = Tally.of(first, second)
    sums: Counter[tuple[int, int]] = Counter()
    for one, other, weight in rows:
        sums[one, other] += weight
    places = [(int(first[at]), int(second[at])) for at in tally.first]
    assert places == sorted(sums)
    assert tally.sums(weights).tolist() == [sums[place] for place in places]
    first_of = {
        place: at
        for at, place in reversed(list(enumerate(zip(first.tolist(), second.tolist(), strict=True))))
    }
    assert tally.first.tolist() == [first_of[place] for place in places]


@given(
    st.lists(
        st.tuples(
            st.integers(0, 5000),
            st.sampled_from([-17_000_000, 0, 490_742, 490_743, 70_000_000]),
            st.integers(0, 2**32 - 1),
        )
    )
)
def test_keys_that_are_too_many_for_a_number_stay_apart(rows: list[tuple[int, int, int]]) -> None:
    """Series, hours from the year 1 to 9999 and ranks of samples: 2**76 and more."""
    columns = [np.array([row[number] for row in rows], np.int64) for number in range(3)]
    tally = Tally.of(*columns)
    assert [rows[at] for at in tally.first] == sorted(set(rows))
    assert [rows[tally.first[place]] for place in tally.place] == rows


@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 2))))
def test_runs_are_as_long_as_nothing_changes(rows: list[tuple[int, int]]) -> None:
    columns = [np.array([row[number] for row in rows], np.int64) for number in (0, 1)]
    found = list(runs(*columns))
    assert [at for start, end in found for at in range(start, end)] == list(range(len(rows)))
    assert all(len({rows[at] for at in range(start, end)}) == 1 for start, end in found)
    assert all(rows[end - 1] != rows[end] for _, end in found[:-1])


def test_a_set_of_samples_that_is_full_takes_nothing_above_its_greatest_rank() -> None:
    clock = ManualClock(0.0)
    bounds = SampleBounds(clock)
    assert bounds.bound("a") == HIGHEST_RANK + 1
    bounds.learn(["a", "b"], [7, -1])
    bounds.learn(["a", "b"], [])  # an answer that was lost
    assert (bounds.bound("a"), bounds.bound("b")) == (7, HIGHEST_RANK + 1)
    clock.sleep(3601)  # the set may have expired, and takes everything again
    bounds.learn(["b"], [9])
    assert (bounds.bound("a"), bounds.bound("b")) == (HIGHEST_RANK + 1, 9)
    bounds.forget()
    assert bounds.bound("b") == HIGHEST_RANK + 1


@given(
    st.lists(
        st.tuples(
            st.sampled_from(LABELS),
            st.sampled_from(["", "m@1", "m@2", "x" * 300, "y" * 300]),
            st.integers(0, SCORE_UNITS),
            st.sampled_from([None, "", "en", "pt-BR", "zz"]),
            st.sampled_from([None, "", "a", "b" * 20, "c" * 280, "d" * 9000]),
            st.integers(0, 12),
        ),
        max_size=30,
    )
)
def test_spreads_are_what_looking_at_each_label_gives(rows: list[Any]) -> None:
    events = [
        Event(
            number,
            Cell(minute, emotion, "web"),
            score,
            lang,
            label=CountedLabel(emotion, "web", datetime(2026, 1, 1, tzinfo=UTC), model=model, text=text),
        )
        for number, (emotion, model, score, lang, text, minute) in enumerate(rows)
    ]
    plainly: Counter[Spot] = Counter()
    for emotion, model, score, lang, text, minute in rows:
        if model:
            columns = [confidence_column(score / SCORE_UNITS), language_column(lang)]
            columns += [length_column(len(text))] if text else []
            name = "other" if len(model) > MAX_MODEL else model
            plainly.update(Spot(minute // 5, name, LABELS.index(emotion), column) for column in columns)
    assert observed(events) == plainly
