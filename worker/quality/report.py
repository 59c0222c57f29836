"""What people's verdicts say of the models. Pure: the same judgements at the same time, the same report."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.quality.agreement import Agreement, agreement
from worker.quality.judgement import consensus, votes
from worker.replay.intervals import bootstrap_macro_f1, wilson
from worker.replay.paired import Interval
from worker.slices import SLICES, Review
from worker.types import LABELS, Judgement

MOST_MODELS = 10
"""Reported one by one, those that labelled last; each is 12 series of each metric."""

WindowName = Literal["hour", "day", "week", "all"]
WINDOWS: Mapping[WindowName, float] = {
    "hour": 3600.0,
    "day": 86_400.0,
    "week": 7 * 86_400.0,
    "all": float("inf"),
}
"""Seconds back from now, by when a post was labelled."""

SliceName = Literal["all", "random", "low_margin"]
SLICE_NAMES: tuple[SliceName, ...] = ("all", *SLICES)

_INDEX = {label: index for index, label in enumerate(LABELS)}


class SliceFigures(msgspec.Struct, frozen=True):
    """One model over one slice of one window. The truth is what most people say of a label."""

    n: int
    """Labels with a consensus; the other figures are over them."""
    undecided: int
    """Labels of which equally many people say two things: in no figure."""
    accuracy: Interval | None
    """With Wilson's interval; None where n is 0."""
    macro_f1: Interval | None
    """With a bootstrap percentile interval; None where n is 0."""
    confidence: float | None
    """Mean `score` of the same labels: the accuracy that the model itself expects. None where n is 0."""
    overconfidence: Interval | None
    """Confidence less accuracy, with the interval of the accuracy: the scores are given, only whether people
    agree is chance. Above 0 the model claims more than it keeps. None where n is 0."""
    confusion: list[list[int]]
    """Row: what people say; column: the model's label; both in the order of `labels`."""


class Report(msgspec.Struct, frozen=True):
    """The answer of /api/quality and of `moodstream quality report`."""

    computed_at: datetime
    judgements: int
    """Labels judged by at least one person, of all models."""
    verdicts: int
    annotators: int
    """People who judged any of them."""
    models_left_out: int
    """Models beyond `MOST_MODELS`: in none of the figures by model."""
    labels: list[str]
    """The order of the confusion tables' rows and columns."""
    review: dict[str, float]
    """How the slices are cut."""
    agreement: Agreement
    models: dict[str, dict[WindowName, dict[SliceName, SliceFigures]]]
    """By `name@version`; the model that labelled last comes first."""


@dataclass(slots=True)
class _Cell:
    """What is counted of one model, window and slice."""

    confusion: NDArray[np.int64] = field(
        default_factory=lambda: np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    )
    undecided: int = 0
    confidence: float = 0.0
    """Sum."""

    def figures(self) -> SliceFigures:
        n = int(self.confusion.sum())
        if not n:
            return SliceFigures(0, self.undecided, None, None, None, None, self.confusion.tolist())
        confidence, accuracy = self.confidence / n, wilson(int(np.trace(self.confusion)), n)
        return SliceFigures(
            n=n,
            undecided=self.undecided,
            accuracy=accuracy,
            macro_f1=bootstrap_macro_f1(self.confusion),
            confidence=confidence,
            overconfidence=Interval(
                confidence - accuracy.value, confidence - accuracy.high, confidence - accuracy.low
            ),
            confusion=self.confusion.tolist(),
        )


def report(judgements: Iterable[Judgement], review: Review, now: float) -> Report:
    """Count and compute.

    Args:
        judgements: All that are kept; labels newer than `now` count in every window.
        review: How the slices are cut.
        now: Epoch seconds.
    """
    by_model: defaultdict[str, list[Judgement]] = defaultdict(list)
    for judgement in judgements:
        by_model[judgement.label.model].append(judgement)
    every = [judgement for some in by_model.values() for judgement in some]
    latest = sorted(by_model, key=lambda model: (_last(by_model[model]), model), reverse=True)
    return Report(
        computed_at=datetime.fromtimestamp(now, UTC),
        judgements=len(every),
        verdicts=sum(len(judgement.verdicts) for judgement in every),
        annotators=len({by for judgement in every for by in judgement.verdicts}),
        models_left_out=len(latest[MOST_MODELS:]),
        labels=list(LABELS),
        review={"random_share": review.random_share, "low_margin": review.low_margin},
        agreement=agreement(votes(judgement) for judgement in every),
        models={model: _of_model(by_model[model], review, now) for model in latest[:MOST_MODELS]},
    )


def _last(judgements: Sequence[Judgement]) -> datetime:
    return max(judgement.label.labelled_at for judgement in judgements)


def _of_model(
    judgements: Sequence[Judgement], review: Review, now: float
) -> dict[WindowName, dict[SliceName, SliceFigures]]:
    cells: dict[WindowName, dict[SliceName, _Cell]] = {
        window: {name: _Cell() for name in SLICE_NAMES} for window in WINDOWS
    }
    for judgement in judgements:
        label, truth = judgement.label, consensus(judgement)
        age = now - label.labelled_at.timestamp()
        slices: tuple[SliceName, ...] = ("all", *review.slices(label))
        for window, seconds in WINDOWS.items():
            if age > seconds:
                continue
            for name in slices:
                cell = cells[window][name]
                if truth is None:
                    cell.undecided += 1
                else:
                    cell.confusion[_INDEX[truth], _INDEX[label.label]] += 1
                    cell.confidence += label.score
    return {
        window: {name: cell.figures() for name, cell in by_slice.items()}
        for window, by_slice in cells.items()
    }
