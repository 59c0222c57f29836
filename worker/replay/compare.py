"""Two models on the same texts: figures, agreement, tests, and one sentence that says which is better."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.replay.figures import Figures
from worker.replay.paired import Interval, McNemar, RightWrong, bootstrap, mcnemar, right_wrong

_SURE_BELOW = 0.05


class Side(msgspec.Struct, frozen=True):
    """One of the two models."""

    model: str
    figures: Figures


class Comparison(msgspec.Struct, frozen=True):
    """What `moodstream evaluate --compare A B` reports; every difference is B - A."""

    a: Side
    b: Side
    n: int
    """Texts that both models labelled."""
    agreement: float
    """Share of texts on which both give the same answer, right or wrong."""
    right_wrong: RightWrong
    mcnemar: McNemar
    accuracy_difference: Interval
    macro_f1_difference: Interval
    verdict: str


def compare(
    a: Side,
    b: Side,
    truth: NDArray[np.intp],
    answers_a: NDArray[np.intp],
    answers_b: NDArray[np.intp],
    *,
    classes: int,
    seed: int = 0,
) -> Comparison:
    """Compare two models' answers (n,) with the truth (n,), indices below `classes`.

    Raises:
        ValueError: there is no text.
    """
    table = right_wrong(truth, answers_a, answers_b)
    test = mcnemar(table.only_a, table.only_b)
    accuracy, f1 = bootstrap(truth, answers_a, answers_b, classes, seed=seed)
    return Comparison(
        a=a,
        b=b,
        n=len(truth),
        agreement=float((answers_a == answers_b).mean()),
        right_wrong=table,
        mcnemar=test,
        accuracy_difference=accuracy,
        macro_f1_difference=f1,
        verdict=verdict((f"A ({a.model})", f"B ({b.model})"), len(truth), accuracy, f1, test.p),
    )


def verdict(names: tuple[str, str], n: int, accuracy: Interval, f1: Interval, p: float) -> str:
    """One sentence: which is better, by how much, how sure.

    Args:
        names: What to call models A and B.
        n: Texts.
        accuracy: Difference B - A, as a share.
        f1: Difference B - A in macro F1.
        p: McNemar's.
    """
    if accuracy.value == 0:
        return (
            f"Neither is better: {names[0]} and {names[1]} answer equally many of {n} texts right"
            f" (95% interval of the difference {_span(accuracy)}); {_f1(f1)}."
        )
    turn = accuracy.value < 0
    better, worse = names if turn else names[::-1]
    ahead, f1 = (_turned(accuracy), _turned(f1)) if turn else (accuracy, f1)
    facts = (
        f"{100 * ahead.value:.2f} points more of {n} texts right than {worse}"
        f" (95% interval {_span(ahead)}), {_f1(f1)}"
    )
    chance = f"equally good models would differ this much in {_percent(p)} of such tests (McNemar)"
    if p < _SURE_BELOW:
        return f"{better} is better: it answers {facts}; {chance}."
    return f"No winner can be named: {better} answers {facts}, but {chance}."


def _turned(interval: Interval) -> Interval:
    return Interval(-interval.value, 0.0 - interval.high, 0.0 - interval.low)  # no -0.00


def _f1(f1: Interval) -> str:
    return f"macro F1 {100 * f1.value:+.2f} points ({_span(f1)})"


def _span(interval: Interval) -> str:
    return f"{100 * interval.low:+.2f} to {100 * interval.high:+.2f} points"


def _percent(share: float) -> str:
    return "less than 0.01%" if share < 0.0001 else f"{100 * share:.2g}%" if share < 0.1 else f"{share:.0%}"
