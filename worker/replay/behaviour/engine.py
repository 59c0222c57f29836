"""The suite, put to a model: any function from texts to answers will do."""

from __future__ import annotations

from collections.abc import Sequence

from worker.replay.answers import Answers, Ask
from worker.replay.behaviour.perturb import PERTURBATIONS, perturbed
from worker.replay.behaviour.report import Behaviour, Outcome
from worker.replay.behaviour.suite import Check, LabelCase, ScoreCase, read_suite, texts_of

_EXAMPLES = 3


def run_suite(ask: Ask, checks: Sequence[Check] | None = None, *, seed: int = 0) -> Behaviour:
    """Every MFT and DIR case, and every invariance over the texts of the suite.

    A model without a neutral gate cannot pass the checks of `neutral`: they are counted all the same.

    Args:
        ask: The model.
        checks: Another suite than the one that comes with moodstream.
        seed: Of the disturbances.

    Raises:
        ValueError: the model gave another number of answers than it was asked for.
    """
    checks = read_suite() if checks is None else checks
    cases = [case for check in checks for case in check.cases]
    texts = [text for case in cases for text in _asked(case)]
    answers = Answers(ask, texts)
    plain = [_outcome(check, answers) for check in checks]
    return Behaviour((*plain, *run_invariances(ask, texts_of(checks), seed=seed, examples=_EXAMPLES)))


def run_invariances(
    ask: Ask, texts: Sequence[str], *, seed: int = 0, examples: int = 0
) -> tuple[Outcome, ...]:
    """How many labels stay when the texts are disturbed, one outcome for each way of `PERTURBATIONS`.

    A text counts only where the disturbance changes it.

    Args:
        ask: The model.
        texts: Any; one that stands there twice counts twice.
        seed: Of the disturbances.
        examples: How many failures to show; 0 for texts that are not our own.
    """
    pairs = {name: _pairs(name, texts, seed) for name in PERTURBATIONS}
    answers = Answers(ask, [*texts, *(after for every in pairs.values() for _, after in every)])
    return tuple(
        _invariance(name, [(a, b, answers.label(a), answers.label(b)) for a, b in every], examples)
        for name, every in pairs.items()
    )


def _pairs(name: str, texts: Sequence[str], seed: int) -> list[tuple[str, str]]:
    both = ((text, perturbed(name, text, seed)) for text in texts)
    return [(text, after) for text, after in both if after is not None]


def _invariance(name: str, rows: Sequence[tuple[str, str, str, str]], examples: int) -> Outcome:
    """Rows: before, after, label before, label after."""
    failed = [f"{after!r}: {was} became {is_now}" for _, after, was, is_now in rows if was != is_now]
    return Outcome("INV", name, name, len(rows), len(rows) - len(failed), tuple(failed[:examples]))


def _asked(case: LabelCase | ScoreCase) -> tuple[str, ...]:
    return (case.text,) if isinstance(case, LabelCase) else (case.before, case.after)


def _outcome(check: Check, answers: Answers) -> Outcome:
    failed = [why for case in check.cases if (why := _failure(case, answers)) is not None]
    passed = len(check.cases) - len(failed)
    return Outcome(
        check.kind, check.capability, check.name, len(check.cases), passed, tuple(failed[:_EXAMPLES])
    )


def _failure(case: LabelCase | ScoreCase, answers: Answers) -> str | None:
    """What is wrong with the answer to a case; None where nothing is."""
    if isinstance(case, LabelCase):
        given = answers.label(case.text)
        return None if given in case.allowed else f"{case.text!r}: {given}"
    before, after = answers.score(case.before, case.emotion), answers.score(case.after, case.emotion)
    if after - before > case.at_least:
        return None
    return f"{case.before!r} to {case.after!r}: {case.emotion} {before:.3f} to {after:.3f}"
