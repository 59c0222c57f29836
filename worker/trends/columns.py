"""The labels of a batch as columns of numbers, so that NumPy adds them up. Pure functions.

A label counts in a dozen places, and adding up in dictionaries took most of the time of the role.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.trends.counting import Event
from worker.trends.keys import ALL_LABELS, Series, settled
from worker.types import LABELS

Numbers = NDArray[np.int64]

_EMOTION_NUMBER: dict[str, int] = {emotion: number for number, emotion in enumerate(LABELS)}


class Members(NamedTuple):
    """Which label belongs to which series; a label may belong to many."""

    row: Numbers
    """(m,) places in the batch."""
    series: Numbers
    """(m,) places in `Columns.series`."""

    def of(self, rows: NDArray[np.bool_]) -> Members:
        """Those of some rows only. `rows`: (n,) which."""
        kept = rows[self.row]
        return Members(self.row[kept], self.series[kept])


class Columns(NamedTuple):
    """The labels of a batch, a row each."""

    minute: Numbers
    """(n,) since the epoch."""
    emotion: Numbers
    """(n,) places in `LABELS`."""
    score: Numbers
    """(n,) in `SCORE_UNITS`."""
    author: Numbers
    """(n,) places in `authors`; -1 where there is none."""
    authors: list[str]
    series: list[Series]
    """Every one that a label belongs to, each kind in the order in which they first come."""
    texts: list[str]
    """As they are in keys."""
    settled: list[tuple[int, str]]
    """As `worker.trends.keys.settled` has them."""
    by_letter: dict[str, Members]
    """The members of each kind of series."""

    @classmethod
    def of(cls, events: Sequence[Event]) -> Columns:
        """The columns of some labels."""
        _, cells, scores, langs, authors, queries, _, _, _, slices = (
            zip(*events, strict=True) if events else _NONE
        )
        minutes, emotions, sources = zip(*cells, strict=True) if cells else ((), (), ())
        emotion = numbered(map(_EMOTION_NUMBER.__getitem__, emotions), len(events))
        names, author = _coded([name for name in authors if name is not None])
        series: list[Series] = [ALL_LABELS]
        everyone = np.arange(len(events))
        by_letter = {ALL_LABELS.letter: Members(everyone, np.zeros_like(everyone))}
        for letter, row, values in (
            ("e", everyone, emotions),
            ("s", everyone, sources),
            ("l", _there(langs), [lang for lang in langs if lang is not None]),
            ("q", _repeated(queries), list(chain.from_iterable(queries))),
            ("r", _repeated(slices), list(chain.from_iterable(slices))),
        ):
            found, numbers = _coded(values)
            by_letter[letter] = Members(row, numbers + len(series))
            series += [Series(letter, name) for name in found]
        wrote = np.full(len(events), -1)
        wrote[_there(authors)] = author
        return cls(
            numbered(minutes, len(events)),
            emotion,
            numbered(scores, len(events)),
            wrote,
            names,
            series,
            [str(one) for one in series],
            [settled(one) for one in series],
            by_letter,
        )

    def members(self, letters: str) -> Members:
        """Of all series of these kinds."""
        kinds = [self.by_letter[letter] for letter in letters]
        return Members(
            np.concatenate([kind.row for kind in kinds]), np.concatenate([kind.series for kind in kinds])
        )

    def names(self, letter: str) -> list[str]:
        """The names of one kind of series, in the order in which they first come."""
        return [series.name for series in self.series if series.letter == letter]


_NONE: tuple[tuple[()], ...] = ((),) * len(Event._fields)


_MOST_KEYS = 2**63
"""Different keys that a 64-bit number can tell apart."""


class Tally(NamedTuple):
    """Rows with equal keys, taken together and put in the order of their keys."""

    first: Numbers
    """(k,) for each key the first of its rows."""
    place: Numbers
    """(n,) for each row the place of its key."""

    @classmethod
    def of(cls, *columns: Numbers) -> Tally:
        """The keys are what stands side by side in these columns, the first of which counts most."""
        key, keys = np.zeros_like(columns[0]), 1
        for column in columns if len(key) else ():
            least, width = int(column.min()), int(column.max()) - int(column.min()) + 1
            if keys * width > _MOST_KEYS:  # posts that are centuries apart, for one
                (key, keys), (column, width), least = _dense(key), _dense(column), 0  # noqa: PLW2901
            key, keys = key * width + (column - least), keys * width
        _, first, place = np.unique(key, return_index=True, return_inverse=True)
        return cls(first, place)

    def sums(self, weights: Numbers) -> Numbers:
        """(k,) weights added up by key. Exact up to 2**53: the scores of nine billion labels."""
        return np.bincount(self.place, weights, len(self.first)).astype(np.int64)


def runs(*columns: Numbers) -> Iterator[tuple[int, int]]:
    """From where to where all columns stay the same."""
    changes = np.zeros(max(0, len(columns[0]) - 1), bool)
    for column in columns:
        changes |= column[1:] != column[:-1]
    ends = [0, *(np.flatnonzero(changes) + 1).tolist(), len(columns[0])]
    return pairwise(ends) if len(columns[0]) else iter(())


def _dense(column: Numbers) -> tuple[Numbers, int]:
    """The place of each number among the different ones, in their order, and how many these are."""
    found, place = np.unique(column, return_inverse=True)
    return place, len(found)


def _coded(values: Sequence[str]) -> tuple[list[str], Numbers]:
    """The different values, and for each value its place among them."""
    places = {value: place for place, value in enumerate(dict.fromkeys(values))}
    return list(places), numbered(map(places.__getitem__, values), len(values))


def _there(values: Sequence[object]) -> Numbers:
    """The rows that have a value."""
    return np.array([row for row, value in enumerate(values) if value is not None], np.int64)


def _repeated(of_rows: Sequence[Sequence[object]]) -> Numbers:
    """Each row as often as it has values."""
    return np.repeat(np.arange(len(of_rows)), numbered(map(len, of_rows), len(of_rows)))


def numbered(values: Iterable[int], n: int = -1) -> Numbers:
    """As an array; `n`: how many there are."""
    return np.fromiter(values, np.int64, n)
