"""What a replay says in plain words: which is better, by how much, how sure. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from worker.replay.compare import verdict as better
from worker.replay.history.report import Contestant, Pair, Reference, Test
from worker.replay.paired import Interval

_SURE_BELOW = 0.05
_NO_TRUTH = (
    "Earlier labels are no truth: where they differ, only gold labels tell who is right (--gold, with ids of"
    " the posts below)."
)
_NEEDS_GOLD = "Which of them is right only gold labels tell: label the posts below and give them with --gold."


def called(contestant: Contestant) -> str:
    """How a sentence names it."""
    if contestant.gate is None:
        return f"earlier labels ({contestant.name})"
    return f"{contestant.letter} ({contestant.name}{', gate off' if contestant.gate == 'off' else ''})"


def of_pair(pair: Pair, names: Mapping[str, str], reference: Reference | None, labels: Sequence[str]) -> str:
    """One sentence on two contestants."""
    a, b = names[pair.a], names[pair.b]
    test = pair.test
    if test is not None and reference is not None:
        if reference.kind == "gold":
            return better((a, b), test.n, test.accuracy_difference, test.macro_f1_difference, test.p_adjusted)
        return _nearer(a, b, test)
    said = f"{a} and {b} give the same label to {_share(pair.agreement)} of {pair.n} posts"
    most = _most_frequent(pair.table)
    if most is None:
        return f"{said}."
    row, column, n = most
    return (
        f"{said}; they differ most often where {a} says {labels[row]} and {b} says {labels[column]}"
        f" ({n} posts)."
    )


def verdict(
    contestants: Sequence[Contestant], pairs: Sequence[Pair], reference: Reference | None, scored: int
) -> str:
    """What stands above everything else."""
    if reference is None:
        return " ".join([*(pair.sentence for pair in pairs[:3]), _NEEDS_GOLD])
    closing = "" if reference.kind == "gold" else f" {_NO_TRUTH}"
    if not pairs:
        return _alone(contestants[0], reference, scored) + closing
    if len(pairs) == 1:
        return pairs[0].sentence + closing
    return _ranked(contestants, pairs, reference, scored) + closing


def _alone(one: Contestant, reference: Reference, scored: int) -> str:
    if one.accuracy is None or one.figures is None:
        return f"{called(one)} answered {one.answered} posts."
    share, figures = _share(one.accuracy), one.figures
    if reference.kind == "gold":
        return (
            f"{called(one)} answers {share} of {scored} posts as their gold labels say;"
            f" macro F1 {figures.macro_f1:.3f}, expected calibration error {figures.ece:.3f}."
        )
    said = f"{called(one)} repeats {share} of {scored} earlier labels"
    most = _most_frequent(figures.confusion)
    if most is None:
        return f"{said}."
    row, column, n = most
    names = reference.classes
    return f"{said}; what it changes most often is {names[row]} to {names[column]} ({n} posts)."


def _ranked(
    contestants: Sequence[Contestant], pairs: Sequence[Pair], reference: Reference, scored: int
) -> str:
    """The first of several, and what it is surely better than."""
    ranked = sorted(contestants, key=lambda one: -_value(one.accuracy))
    first = ranked[0]
    does = "is right on" if reference.kind == "gold" else "repeats"
    sure: list[str] = []
    unsure: list[str] = []
    for other in ranked[1:]:
        p = _p_between(first, other, pairs)
        ahead = 100 * (_value(first.accuracy) - _value(other.accuracy))
        line = f"{called(other)} ({ahead:+.2f} points, p = {_p(p)})"
        (sure if p < _SURE_BELOW else unsure).append(line)
    parts = [f"{called(first)} {does} most of {scored} posts: {_percent(first.accuracy)}"]
    if sure:
        parts.append(f"surely more than {_listed(sure)}")
    if unsure:
        parts.append(f"not surely more than {_listed(unsure)}")
    return f"{'; '.join(parts)} (McNemar, corrected for {len(pairs)} pairs)."


def _p_between(a: Contestant, b: Contestant, pairs: Sequence[Pair]) -> float:
    mine = {a.letter, b.letter}
    found = (pair.test for pair in pairs if {pair.a, pair.b} == mine)
    return next((test.p_adjusted for test in found if test is not None), 1.0)


def _nearer(a: str, b: str, test: Test) -> str:
    """Which repeats more of the earlier labels."""
    n, accuracy, p = test.n, test.accuracy_difference, test.p_adjusted
    if accuracy.value == 0:
        return f"{a} and {b} repeat equally many of {n} earlier labels."
    turn = accuracy.value < 0
    nearer, other = (a, b) if turn else (b, a)
    low, high = (-accuracy.high, -accuracy.low) if turn else (accuracy.low, accuracy.high)
    sure = "" if p < _SURE_BELOW else ", which may be chance"
    return (
        f"{nearer} repeats {100 * abs(accuracy.value):.2f} points more of {n} earlier labels than {other}"
        f" (95% interval {100 * low:+.2f} to {100 * high:+.2f} points, McNemar p = {_p(p)}{sure})."
    )


def _most_frequent(table: Sequence[Sequence[int]]) -> tuple[int, int, int] | None:
    """Row, column and count of the largest cell off the diagonal; None where all are empty."""
    cells = np.array(table)
    np.fill_diagonal(cells, 0)
    if not cells.any():
        return None
    row, column = np.unravel_index(int(cells.argmax()), cells.shape)
    return int(row), int(column), int(cells[row, column])


def _share(share: Interval) -> str:
    return f"{share.value:.1%} (95% interval {100 * share.low:.1f} to {100 * share.high:.1f}%)"


def _percent(share: Interval | None) -> str:
    return "none" if share is None else _share(share)


def _value(share: Interval | None) -> float:
    return 0.0 if share is None else share.value


def _p(p: float) -> str:
    return "below 0.0001" if p < 0.0001 else f"{p:.2g}"


def _listed(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
