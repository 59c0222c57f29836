"""Every row of a table of labels held against the line that `moodstream classify` wrote for its post."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow.parquet as pq

from worker.types import EMOTIONS


class Compared(msgspec.Struct, frozen=True):
    """What is the same and what is not."""

    rows: int
    errors: int
    """Rows without a label."""
    missing: int
    """Posts that have no row, two, or one that lost what should go along."""
    labels_differ: int
    """Rows with another label, or another error."""
    scores_differ: float
    """The most that a probability is another."""

    @property
    def good(self) -> bool:
        """Whether all is there, and the same."""
        return self.rows > 0 and self.missing == self.labels_differ == 0


def compared(answers: Sequence[dict[str, Any]], labels: Path, **along: Sequence[Any]) -> Compared:
    """Compare.

    Args:
        answers: The lines, of the posts 0, 1, ...
        labels: The table, with their numbers as `id`.
        along: Columns that went along: their values by number.
    """
    rows = pq.read_table(labels).to_pylist()
    by_id = {row["id"]: row for row in rows}
    whole = {
        number: by_id[number]
        for number in range(len(answers))
        if number in by_id and all(by_id[number][name] == values[number] for name, values in along.items())
    }
    differ, most = 0, 0.0
    for number, row in whole.items():
        answer = answers[number]
        if (row["label"], row["error"]) != (answer.get("label"), answer.get("error")):
            differ += 1
        elif row["label"] is not None:
            most = max(
                most,
                *(abs(ours - theirs) for ours, theirs in zip(_numbers(row), _numbers(answer), strict=True)),
            )
    return Compared(
        rows=len(rows),
        errors=sum(row["error"] is not None for row in rows),
        missing=len(answers) - len(whole) + len(rows) - len(by_id),
        labels_differ=differ,
        scores_differ=round(most, 6),
    )


def _numbers(row: dict[str, Any]) -> list[float]:
    return [row["score"], row["neutral"], *(row["scores"][name] for name in EMOTIONS)]
