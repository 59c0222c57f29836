"""How far people agree with each other: what a model cannot be better than. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import msgspec

from worker.replay.intervals import wilson
from worker.replay.paired import Interval
from worker.types import LabelName


class Agreement(msgspec.Struct, frozen=True):
    """Of the labels that several people have judged."""

    n: int
    """Such labels."""
    disagreement: Interval | None
    """Share of them on which not all say the same, with Wilson's interval; None where n is 0."""
    alpha: float | None
    """Krippendorff's alpha for nominal data: 1 is agreement, 0 what chance gives, below 0 worse. Cohen's and
    Fleiss' kappa in the limit, but for any number of people a label. None where it is not defined: fewer than
    two such labels, or everybody always says the same one thing."""


def agreement(labels: Iterable[Counter[LabelName]]) -> Agreement:
    """From how many people say what, one counter a label.

    Alpha is 1 - D_o / D_e (Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability"): the observed
    disagreement is that of pairs of people within a label, the expected one that of all pairs of verdicts.
    """
    several = [counts for counts in labels if sum(counts.values()) > 1]
    if not several:
        return Agreement(0, None, None)
    differing = sum(len([count for count in counts.values() if count]) > 1 for counts in several)
    return Agreement(len(several), wilson(differing, len(several)), _alpha(several))


def _alpha(labels: list[Counter[LabelName]]) -> float | None:
    observed, totals = 0.0, Counter[LabelName]()
    for counts in labels:
        people = sum(counts.values())
        agreeing = sum(count * (count - 1) for count in counts.values())
        observed += (people * (people - 1) - agreeing) / (people - 1)
        totals.update(counts)
    n = totals.total()
    expected = n * n - sum(count * count for count in totals.values())
    if len(labels) < 2 or not expected:
        return None
    return 1 - (n - 1) * observed / expected
