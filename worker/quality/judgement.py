"""How verdicts become judgements, and what a judgement says. Pure."""

from __future__ import annotations

from collections import Counter

import msgspec

from worker.errors import BadRecordError
from worker.types import Correction, Judgement, Label, LabelName, Verdict

MOST_ANNOTATORS = 100
"""Verdicts of one label: a judgement is one record and must stay one."""


def check_id(correction: Correction, label: Label) -> None:
    """Refuse a correction whose reference and id do not belong together.

    Ids are compared as text: JavaScript turns large numbers into strings, or should.

    Raises:
        BadRecordError: `id_mismatch`.
    """
    if str(correction.id) != str(label.id):
        raise BadRecordError("id_mismatch", "the label at label_ref is of another post")


def said(label: Label, label_ref: str) -> Judgement:
    """The judgement of a label that nobody has said anything of yet."""
    return Judgement(label_ref=label_ref, label=msgspec.structs.replace(label, author_id=None), verdicts={})


def judge(before: Judgement, correction: Correction, offset: int) -> Judgement:
    """What is said of a label once `correction` has been heard; `before` itself where that is nothing new.

    Of each person the latest verdict counts, by its own time, then by its offset. So a correction that
    comes twice, in whatever order, changes nothing, and reading the topic again gives the same judgements.

    Raises:
        BadRecordError: `too_many_annotators`.
    """
    verdict = Verdict(correction.label, correction.at, offset)
    known = before.verdicts.get(correction.by)
    if known is None and len(before.verdicts) >= MOST_ANNOTATORS:
        raise BadRecordError(
            "too_many_annotators",
            f"{MOST_ANNOTATORS} people have judged this label, which is all that is kept",
        )
    if known is not None and not _counts(verdict, known):
        return before
    return msgspec.structs.replace(before, verdicts={**before.verdicts, correction.by: verdict})


def _counts(verdict: Verdict, known: Verdict) -> bool:
    """Whether a verdict takes the place of a known one of the same person."""
    if verdict.at == known.at and verdict.label == known.label:
        return False
    return (verdict.at, verdict.offset) > (known.at, known.offset)


def votes(judgement: Judgement) -> Counter[LabelName]:
    """How many people say what."""
    return Counter(verdict.label for verdict in judgement.verdicts.values())


def consensus(judgement: Judgement) -> LabelName | None:
    """What most people say; None where two answers have equally many."""
    ranked = votes(judgement).most_common(2)
    return None if len(ranked) == 2 and ranked[0][1] == ranked[1][1] else ranked[0][0]
