"""What the demo found: its figures, and everything that was not as it should be. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from worker.demo.tally import Counts, Totals

_SHOWN = 3


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """The line that `--json` prints."""

    taken: int = msgspec.field(name="in")
    labelled: int
    dead: int
    tweets_per_s: float
    p50_ms: float
    p99_ms: float
    trends_exact: bool


class Verdict(NamedTuple):
    """The figures and what is wrong with them."""

    result: Result
    deletions: int
    others: int
    """Answers to records that somebody else has sent."""
    problems: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether every record was answered once and every trend is exact."""
        return not self.problems


def judge(totals: Totals, *, labelled: Counts, counted: Counts | None) -> Verdict:
    """Compare what was sent with what came back, and what was labelled with what the trends say.

    `counted` is None where the trends API did not answer.
    """
    result = Result(
        taken=totals.taken,
        labelled=totals.labelled,
        dead=totals.dead,
        tweets_per_s=totals.tweets_per_s,
        p50_ms=totals.p50_ms,
        p99_ms=totals.p99_ms,
        trends_exact=counted == labelled,
    )
    return Verdict(result, totals.deletions, totals.others, tuple(_problems(totals, labelled, counted)))


def _problems(totals: Totals, labelled: Counts, counted: Counts | None) -> Iterator[str]:
    if not totals.taken:
        yield "nothing was sent"
    if totals.waiting:
        yield f"{totals.waiting} records were not answered"
    if totals.unexpected:
        yield f"{totals.unexpected} answers came twice, or to nothing that was sent"
    if counted is None:
        yield "the trends could not be compared: their API does not answer"
    elif counted != labelled:
        yield from _differences(labelled, counted)


def _differences(labelled: Counts, counted: Counts) -> Iterator[str]:
    cells = sorted(cell for cell in {*labelled, *counted} if labelled.get(cell, 0) != counted.get(cell, 0))
    for cell in cells[:_SHOWN]:
        minute, emotion, source = cell
        when = datetime.fromtimestamp(minute, UTC).strftime("%H:%M")
        yield (
            f"trend of {when} UTC, {emotion}, {source}: "
            f"{counted.get(cell, 0)} counted, {labelled.get(cell, 0)} labelled"
        )
    if len(cells) > _SHOWN:
        yield f"and {len(cells) - _SHOWN} trends more"
