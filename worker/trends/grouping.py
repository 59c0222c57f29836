"""Labels that differ only in time within their minute, score and author, taken together. Pure functions."""

from __future__ import annotations

from collections.abc import Iterable

from worker.trends.counting import Cell, Event


class Group:
    """Labels of the same cell and language."""

    __slots__ = ("authors", "n", "scores")

    def __init__(self) -> None:
        self.n = 0
        self.scores = 0
        self.authors: set[str] = set()


Groups = dict[tuple[Cell, str | None], Group]


def grouped(events: Iterable[Event]) -> Groups:
    """The groups, in the order in which they first come."""
    groups: Groups = {}
    for event in events:
        place = (event.cell, event.lang)
        group = groups.get(place)
        if group is None:
            group = groups[place] = Group()
        group.n += 1
        group.scores += event.score
        if event.author is not None:
            group.authors.add(event.author)
    return groups
