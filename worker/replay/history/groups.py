"""The same figures for parts of the posts: over time, by language, by source. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from worker.replay.history.data import Named
from worker.replay.history.report import Group, Step
from worker.replay.shares import wilson

_MOST_GROUPS = 15
_MOST_STEPS = 60
_STEPS_S = (60, 300, 900, 3600, 10_800, 21_600, 86_400, 604_800, 2_592_000, 31_536_000)
"""Minute to day, week, 30 and 365 days."""
_OTHER = "other"


@dataclass(frozen=True)
class Marks:
    """What became of each post, beside each other; all (n,)."""

    alike: NDArray[np.bool_] | None
    """Whether all contestants give the same label; None where there is one alone."""
    compared: NDArray[np.bool_]
    """Whether all contestants answered."""
    scored: NDArray[np.bool_]
    """Whether there is a reference too."""
    right: Mapping[str, NDArray[np.bool_]]
    """By contestant; only where scored."""

    def agreement(self, rows: NDArray[np.bool_]) -> float | None:
        """Share of some rows on which all contestants agree."""
        among = rows & self.compared
        n = int(among.sum())
        return None if self.alike is None or not n else float((self.alike & among).sum() / n)

    def hits(self, rows: NDArray[np.bool_]) -> tuple[int, dict[str, int]]:
        """How many of some rows are scored, and how many of them each contestant answers right."""
        among = rows & self.scored
        return int(among.sum()), {who: int((right & among).sum()) for who, right in self.right.items()}


def by_name(column: Named, marks: Marks) -> list[Group]:
    """A group for each of the most frequent names, the largest first; the rest as one."""
    counts = np.bincount(column.code, minlength=len(column.names))
    # Of equally frequent ones the first by name, so that a report is the same each time.
    order = sorted(np.flatnonzero(counts), key=lambda code: (-counts[code], column.names[code]))
    shown, rest = order[:_MOST_GROUPS], order[_MOST_GROUPS:]
    groups = [_group(column.names[code], column.code == code, marks) for code in shown]
    if rest:
        groups.append(_group(f"{_OTHER} ({len(rest)})", np.isin(column.code, rest), marks))
    return groups


def _group(name: str, rows: NDArray[np.bool_], marks: Marks) -> Group:
    scored, hits = marks.hits(rows)
    return Group(
        name=name,
        n=int(rows.sum()),
        agreement=marks.agreement(rows),
        scored=scored,
        accuracy={who: wilson(n, scored) for who, n in hits.items()} if scored else {},
    )


def over_time(seconds: NDArray[np.int64], marks: Marks) -> tuple[int, list[Step]]:
    """Steps in which posts were written, with the length of a step in seconds; empty ones are left out.

    Args:
        seconds: (n,) when posts were written, since the epoch.
        marks: Of the same posts.
    """
    if not len(seconds):
        return _STEPS_S[0], []
    # A few posts with a wrong year must not make the steps years long.
    low, high = np.quantile(seconds, (0.01, 0.99))
    step_s = next((step for step in _STEPS_S if (high - low) / step <= _MOST_STEPS), _STEPS_S[-1])
    number = seconds // step_s
    return step_s, [_step(int(one) * step_s, number == one, marks) for one in np.unique(number)]


def _step(start: int, rows: NDArray[np.bool_], marks: Marks) -> Step:
    scored, hits = marks.hits(rows)
    return Step(
        start=datetime.fromtimestamp(start, UTC),
        n=int(rows.sum()),
        agreement=marks.agreement(rows),
        scored=scored,
        accuracy={who: n / scored for who, n in hits.items()} if scored else {},
    )
