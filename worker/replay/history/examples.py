"""The posts on which contestants differ, the clearest first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np
from numpy.typing import NDArray

from worker.replay.history.data import NONE, Data
from worker.replay.history.report import Disagreements, Example, Given

_SHOWN = 50
_EACH = 20
"""Of each pair, where there are several."""
REFERENCE = "reference"


class Asked:
    """What contestants answered to some posts, over the classes that were asked for.

    Args:
        rows: (m,) indices of the posts.
        classes: Names.
        probabilities: (m, classes) of each contestant.
        reference: (m,) indices into `classes`; NONE where there is none.
    """

    def __init__(
        self,
        rows: NDArray[np.intp],
        classes: Sequence[str],
        probabilities: Mapping[str, NDArray[np.float64]],
        reference: NDArray[np.intp],
    ) -> None:
        self.rows = rows
        self.classes = classes
        self.reference = reference
        self.answer = {who: given.argmax(axis=1) for who, given in probabilities.items()}
        self.probabilities = probabilities
        self.margin = {who: margins(given) for who, given in probabilities.items()}


def margins(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """(n,) by how much the best of each row (n, classes) is ahead of the second."""
    two = np.partition(probabilities, -2, axis=1)[:, -2:]
    return np.abs(two[:, 1] - two[:, 0])


def disagreements(
    asked: Asked, pairs: Sequence[tuple[str, str]], data: Data, topic: str
) -> list[Disagreements]:
    """Of each pair; of a lone contestant with the reference where there is no pair."""
    if not pairs:
        [alone] = asked.answer
        differ = (asked.reference != NONE) & (asked.answer[alone] != asked.reference)
        places = _widest(differ, asked.margin[alone])
        examples = _examples(places[:_SHOWN], asked.margin[alone], asked, data, topic)
        return [Disagreements([alone, REFERENCE], len(places), examples)]
    most = _SHOWN if len(pairs) == 1 else _EACH
    found = []
    for a, b in pairs:
        margin = np.minimum(asked.margin[a], asked.margin[b])
        places = _widest(asked.answer[a] != asked.answer[b], margin)
        found.append(Disagreements([a, b], len(places), _examples(places[:most], margin, asked, data, topic)))
    return found


def _widest(differ: NDArray[np.bool_], margin: NDArray[np.float64]) -> NDArray[np.intp]:
    """Where answers differ, the widest margin first; equal ones as they come, the same in each report."""
    places = np.flatnonzero(differ)
    return places[np.argsort(-margin[places], kind="stable")]


def _examples(
    places: NDArray[np.intp], margin: NDArray[np.float64], asked: Asked, data: Data, topic: str
) -> list[Example]:
    if not len(places):
        return []
    rows = data.rows(asked.rows[places].tolist(), ("partition", "offset", "id", "text"))
    return [
        Example(
            where=f"{topic}/{row['partition']}/{row['offset']}",
            id=str(row["id"]),
            text=cast("str | None", row["text"]),
            reference=None if asked.reference[place] == NONE else asked.classes[asked.reference[place]],
            answers={who: _given(who, int(place), asked) for who in asked.answer},
            margin=round(float(margin[place]), 6),
        )
        for place, row in zip(places.tolist(), rows, strict=True)
    ]


def _given(who: str, place: int, asked: Asked) -> Given:
    best = int(asked.answer[who][place])
    return Given(asked.classes[best], round(float(asked.probabilities[who][place, best]), 6))
