"""Judgements as training data: with where each comes from, and none that anybody measures with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Set
from datetime import datetime
from pathlib import Path

import msgspec

from worker.quality.evaluation_texts import same_text
from worker.quality.judgement import consensus, votes
from worker.types import Judgement, LabelName


class Row(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One line of an export: a text, what people say it expresses, and how that came about."""

    text: str
    label: LabelName
    """What most people say."""
    votes: dict[LabelName, int]
    """How many say what."""
    by: list[str]
    """Who has judged it."""
    at: datetime
    """When the last of them did."""
    id: str | int
    """Of the post."""
    label_ref: str
    input: str
    model: str
    """`name@version` of the model that was corrected or confirmed."""
    model_label: LabelName
    """Its answer."""
    model_score: float
    lang: str | None = None
    source: str | None = None


class Exported(msgspec.Struct):
    """What became of the judgements; `rows` and those left out add up to `judgements`."""

    judgements: int = 0
    rows: int = 0
    undecided: int = 0
    """Left out: equally many people say two things."""
    without_text: int = 0
    """Left out: the label carries no text (`worker.label_text=off`)."""
    excluded: int = 0
    """Left out: the text is one of an evaluation set."""
    pending: int = 0
    """Corrections that the quality role has not dealt with yet: not among the judgements."""


def rows(judgements: Iterable[Judgement], excluded: Set[str], counts: Exported) -> Iterator[Row]:
    """The rows of an export, in the order of the judgements; what becomes of each is counted in `counts`.

    Args:
        judgements: As they are kept.
        excluded: Texts to leave out, as `same_text` gives them.
        counts: Added to.
    """
    for judgement in judgements:
        counts.judgements += 1
        label, text = consensus(judgement), judgement.label.text
        if label is None:
            counts.undecided += 1
        elif not text:
            counts.without_text += 1
        elif same_text(text) in excluded:
            counts.excluded += 1
        else:
            counts.rows += 1
            yield _row(judgement, text, label)


def _row(judgement: Judgement, text: str, label: LabelName) -> Row:
    answer = judgement.label
    return Row(
        text=text,
        label=label,
        votes=dict(votes(judgement)),
        by=sorted(judgement.verdicts),
        at=max(verdict.at for verdict in judgement.verdicts.values()),
        id=answer.id,
        label_ref=judgement.label_ref,
        input=answer.input,
        model=answer.model,
        model_label=answer.label,
        model_score=answer.score,
        lang=answer.lang,
        source=answer.source,
    )


def write(output: Path, lines: Iterable[Row]) -> None:
    """Write rows as JSON lines; the file appears, or is replaced, when it is whole."""
    encode = msgspec.json.Encoder().encode
    partial = output.with_name(f"{output.name}.partial")
    try:
        with partial.open("wb") as file:
            for line in lines:
                file.write(encode(line) + b"\n")
        partial.replace(output)
    finally:
        partial.unlink(missing_ok=True)
