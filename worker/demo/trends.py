"""What the trends API says: the mood of the moment, to show, and every single count, to compare."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import NamedTuple

import msgspec

from worker.demo.http import get_json
from worker.demo.tally import Counts

NOWHERE = "(a source that no label has)"
_AROUND_S = 3600
"""Looked at before and after the first and last label: a count there is wrong too."""
_MOST_S = 10_000 * 60
"""One question's span: the API answers 11,000 points."""
_RECENT = "5m"


class Mood(NamedTuple):
    """Counts per emotion of the recent past."""

    span: str
    counts: Mapping[str, int]


class _Series(msgspec.Struct):
    emotion: str
    total: int
    points: list[tuple[int, int]]


class _Data(msgspec.Struct):
    series: list[_Series]


class _Answer(msgspec.Struct):
    data: _Data


def current(url: str) -> Mood:
    """The trend of the last minutes.

    Raises:
        DependencyError: the API does not answer.
    """
    series = _ask(url, **{"from": f"-{_RECENT}"})
    return Mood("last 5 minutes", {one.emotion: one.total for one in series})


def counted(url: str, labelled: Counts) -> Counts:
    """All counts around the time of these labels, zeros left out.

    The API counts one source or all together: what all have more than the labels' sources is `NOWHERE`'s.

    Raises:
        DependencyError: the API does not answer.
    """
    if not labelled:
        return {}
    minutes = {minute for minute, _, _ in labelled}
    start, end = min(minutes) - _AROUND_S, max(minutes) + _AROUND_S
    found: Counter[tuple[int, str, str]] = Counter()
    for source in {source for _, _, source in labelled}:
        for minute, emotion, n in _points(url, start, end, source=source):
            found[minute, emotion, source] = n
    known = Counter[tuple[int, str]]()
    for (minute, emotion, _), n in found.items():
        known[minute, emotion] += n
    for minute, emotion, n in _points(url, start, end):
        found[minute, emotion, NOWHERE] = n - known[minute, emotion]
    return {cell: n for cell, n in found.items() if n}


def _points(url: str, start: int, end: int, **query: str) -> Iterator[tuple[int, str, int]]:
    for part in range(start, end, _MOST_S):
        for series in _ask(url, **{"from": str(part), "to": str(min(end, part + _MOST_S))}, **query):
            for minute, n in series.points:
                yield minute, series.emotion, n


def _ask(url: str, **query: str) -> list[_Series]:
    return msgspec.convert(get_json(f"{url}/api/trends", step="1m", **query), _Answer).data.series
