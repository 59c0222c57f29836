"""From predictions.parquet to the report: all figures, and nothing that is not in that file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.errors import ConfigurationError
from worker.replay.classes import classes_of
from worker.replay.evaluate import Scored
from worker.replay.figures import calibration_bins
from worker.replay.history.data import NONE, Data, Said
from worker.replay.history.examples import Asked, disagreements
from worker.replay.history.folder import Folder, State
from worker.replay.history.groups import Marks, by_name, over_time
from worker.replay.history.report import Contestant, Pair, Reference, Report, Test
from worker.replay.history.results import Merged
from worker.replay.history.sentences import called, of_pair, verdict
from worker.replay.history.table import EARLIER
from worker.replay.history.truth import Gold
from worker.replay.paired import bootstrap, mcnemar, right_wrong
from worker.replay.shares import holm, kappa, wilson
from worker.types import LABELS


class Who(NamedTuple):
    """A contestant before its figures."""

    letter: str
    name: str
    gate: str | None


@dataclass(frozen=True)
class Field:
    """All contestants on the posts of a replay."""

    said: dict[str, Said]
    """By letter."""
    reference: Reference | None
    target: NDArray[np.intp]
    """(n,) the reference's label of each post, index into `LABELS`; NONE where there is none."""
    answered: NDArray[np.bool_]
    """(n,) whether all contestants answered."""

    @property
    def scored(self) -> NDArray[np.bool_]:
        """(n,) whether there is a reference too."""
        known: NDArray[np.bool_] = self.answered & (self.target != NONE)
        return known

    @property
    def classes(self) -> list[str]:
        """What is asked for; all labels where there is no reference."""
        return list(LABELS) if self.reference is None else self.reference.classes


def analyse(folder: Folder, state: State, merged: Merged, gold: Gold | None) -> Report:
    """The report on a folder's predictions.

    Raises:
        ConfigurationError: no post was answered by all contestants (and has a reference, if one is given).
    """
    who = [Who(one.letter, one.name, one.gate) for one in state.question.models]
    if gold is not None and merged.earlier is not None:
        who.append(Who(EARLIER, merged.earlier.topic, None))
    data = Data(folder.predictions, [one.letter for one in who])
    field = _field(data, who, merged, gold)
    answers = _answers(field)
    contestants = [_contestant(one, field, answers) for one in who]
    names = {one.letter: called(one) for one in contestants}
    pairs = _pairs(who, field, answers, names)
    step_s, steps = over_time(data.seconds, (marks := _marks(field, answers)))
    scored = int(field.scored.sum())
    return Report(
        verdict=verdict(contestants, pairs, field.reference, scored),
        replay=state,
        input=merged.input,
        speed=merged.speed,
        reference=field.reference,
        matched=merged.matched,
        gold_left_out=[] if gold is None else gold.left_out,
        earlier=merged.earlier,
        labels=list(LABELS),
        scored=scored,
        contestants=contestants,
        pairs=pairs,
        step_s=step_s,
        over_time=steps,
        by_language=by_name(data.named("lang"), marks),
        by_source=by_name(data.named("source"), marks),
        disagreements=disagreements(
            _asked(field), [(pair.a, pair.b) for pair in pairs], data, state.question.topic
        ),
    )


def _field(data: Data, who: Sequence[Who], merged: Merged, gold: Gold | None) -> Field:
    said = {one.letter: data.said(one.letter) for one in who}
    answered = np.logical_and.reduce([one.answered for one in said.values()])
    if gold is not None:
        kind, given, target = "gold", gold.given, data.truth
    elif merged.earlier is not None:
        kind, given, target = "earlier", merged.earlier.topic, data.said(EARLIER).label
    else:
        kind, given, target = None, "", np.full(data.n, NONE, dtype=np.intp)
    if not (answered & (target != NONE) if kind else answered).any():
        needed = f" and has a label of {given}" if kind else ""
        raise ConfigurationError([f"there is no post that all models answered{needed}"])
    if kind is None:
        return Field(said, None, target, answered)
    known = {LABELS[code] for code in np.unique(target[answered & (target != NONE)]).tolist()}
    reference = msgspec.convert({"kind": kind, "given": given, "classes": classes_of(known)}, Reference)
    return Field(said, reference, target, answered)


def _answers(field: Field) -> dict[str, Scored]:
    """Each contestant's answers to the scored posts; none where nothing is held against anything."""
    if field.reference is None:
        return {}
    rows = field.scored
    return {
        letter: Scored(
            truth=field.target[rows],
            probabilities=said.over(rows, field.classes),
            neutral=said.neutral[rows],
            classes=field.classes,
        )
        for letter, said in field.said.items()
    }


def _contestant(who: Who, field: Field, answers: dict[str, Scored]) -> Contestant:
    said = field.said[who.letter]
    rows = said.answered
    counts = np.bincount(said.label[rows], minlength=len(LABELS)).tolist()
    given = np.column_stack([said.scores[rows], said.neutral[rows]])
    confidence = given[np.arange(len(given)), said.label[rows]]
    scored = answers.get(who.letter)
    return Contestant(
        letter=who.letter,
        name=who.name,
        gate=who.gate,
        answered=int(rows.sum()),
        mix=dict(zip(LABELS, counts, strict=True)),
        mean_confidence=float(confidence.mean()),
        accuracy=None
        if scored is None
        else wilson(int((scored.answer == scored.truth).sum()), len(scored.truth)),
        figures=None if scored is None else scored.figures(),
        calibration=None if scored is None else calibration_bins(scored.truth, scored.probabilities),
    )


def _pairs(who: Sequence[Who], field: Field, answers: dict[str, Scored], names: dict[str, str]) -> list[Pair]:
    found = [(a.letter, b.letter) for a, b in combinations(who, 2)]
    tests = _tests(found, answers, len(field.classes)) if answers else [None] * len(found)
    return [_pair(pair, test, field, names) for pair, test in zip(found, tests, strict=True)]


def _pair(pair: tuple[str, str], test: Test | None, field: Field, names: dict[str, str]) -> Pair:
    a, b = (field.said[letter] for letter in pair)
    both = a.answered & b.answered
    table = np.zeros((len(LABELS), len(LABELS)), dtype=np.int64)
    np.add.at(table, (a.label[both], b.label[both]), 1)
    n = int(both.sum())
    whole = Pair(
        a=pair[0],
        b=pair[1],
        n=n,
        agreement=wilson(int(np.trace(table)), n),
        kappa=kappa(table),
        table=table.tolist(),
        test=test,
        sentence="",
    )
    return msgspec.structs.replace(whole, sentence=of_pair(whole, names, field.reference, LABELS))


def _tests(pairs: Sequence[tuple[str, str]], answers: dict[str, Scored], classes: int) -> list[Test]:
    """Each pair against the reference; their p are corrected for how many pairs there are."""
    tables = [right_wrong(answers[a].truth, answers[a].answer, answers[b].answer) for a, b in pairs]
    alone = [mcnemar(table.only_a, table.only_b) for table in tables]
    adjusted = holm([one.p for one in alone])
    tests = []
    for (a, b), table, one, p in zip(pairs, tables, alone, adjusted, strict=True):
        truth = answers[a].truth
        accuracy, f1 = bootstrap(truth, answers[a].answer, answers[b].answer, classes)
        tests.append(Test(len(truth), table, one, p, accuracy, f1))
    return tests


def _marks(field: Field, answers: dict[str, Scored]) -> Marks:
    labels = [said.label for said in field.said.values()]
    alike = np.logical_and.reduce([labels[0] == other for other in labels[1:]]) if labels[1:] else None
    right = {}
    for letter, scored in answers.items():
        right[letter] = np.zeros(len(field.target), dtype=np.bool_)
        right[letter][field.scored] = scored.answer == scored.truth
    return Marks(alike=alike, compared=field.answered, scored=field.scored, right=right)


def _asked(field: Field) -> Asked:
    """The posts that examples are taken from: the scored ones, or all where there is no reference."""
    rows = field.answered if field.reference is None else field.scored
    return Asked(
        rows=np.flatnonzero(rows),
        classes=field.classes,
        probabilities={letter: said.over(rows, field.classes) for letter, said in field.said.items()},
        reference=field.target[rows],
    )
