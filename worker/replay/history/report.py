"""report.json: what a replay found. docs/replay.md explains it field by field."""

from __future__ import annotations

from datetime import datetime
from typing import Final, Literal

import msgspec

from worker.replay.figures import CalibrationBin, Figures
from worker.replay.history.earlier import Earlier
from worker.replay.history.folder import State
from worker.replay.history.results import Input, Matched, Speed
from worker.replay.history.truth import Listed
from worker.replay.paired import Interval, McNemar, RightWrong

FORMAT: Final = 1


class Reference(msgspec.Struct, frozen=True):
    """What answers are held against."""

    kind: Literal["gold", "earlier"]
    """`gold`: the truth. `earlier`: labels that the stream gave, which may be wrong themselves."""
    given: str
    """The file or topic."""
    classes: list[str]
    """What was asked: the six where the reference knows no neutral, else all seven."""


class Contestant(msgspec.Struct, frozen=True):
    """A model, or the earlier labels where they are held against gold too."""

    letter: str
    """`A`, `B`, ...; `earlier` for the earlier labels."""
    name: str
    """`name@version`; of earlier labels the topic."""
    gate: str | None
    answered: int
    """Posts."""
    mix: dict[str, int]
    """Posts by label."""
    mean_confidence: float
    """Of the labels given."""
    accuracy: Interval | None
    """Share of the scored posts that it answers as the reference does; Wilson's interval."""
    figures: Figures | None
    """Those of `moodstream evaluate`, on the scored posts."""
    calibration: list[CalibrationBin] | None


class Test(msgspec.Struct, frozen=True):
    """Which of two contestants is nearer to the reference; every difference is b - a."""

    n: int
    """Posts: the scored ones."""
    right_wrong: RightWrong
    mcnemar: McNemar
    p_adjusted: float
    """McNemar's p after Holm's correction for the number of pairs."""
    accuracy_difference: Interval
    macro_f1_difference: Interval


class Pair(msgspec.Struct, frozen=True):
    """Two contestants on the same posts."""

    a: str
    b: str
    n: int
    """Posts that both answered."""
    agreement: Interval
    """Share of them with the same label; Wilson's interval."""
    kappa: float | None
    """Cohen's."""
    table: list[list[int]]
    """Row: a's label, column: b's, in the order of `labels`."""
    test: Test | None
    """None where there is no reference."""
    sentence: str


class Group(msgspec.Struct, frozen=True):
    """Posts that have something in common."""

    name: str
    n: int
    agreement: float | None
    """Share on which all contestants give the same label; None where there is one alone."""
    scored: int
    accuracy: dict[str, Interval]
    """By contestant; empty where nothing of the group is scored."""


class Step(msgspec.Struct, frozen=True):
    """Posts of a span of time."""

    start: datetime
    n: int
    agreement: float | None
    scored: int
    accuracy: dict[str, float]


class Given(msgspec.Struct, frozen=True):
    """A contestant's answer to an example."""

    label: str
    confidence: float
    """Over the classes that were asked for."""


class Example(msgspec.Struct, frozen=True):
    """A post on which contestants differ from each other, or a lone one from the reference."""

    where: str
    """topic/partition/offset."""
    id: str
    text: str | None
    reference: str | None
    answers: dict[str, Given]
    margin: float
    """By how much each prefers its own answer to its second choice: the smaller of the two."""


class Disagreements(msgspec.Struct, frozen=True):
    """Of a pair, or of a lone contestant with the reference."""

    between: list[str]
    """Letters, or a letter and `reference`."""
    n: int
    examples: list[Example]
    """The widest margins first: there both are sure, and one is wrong."""


class Report(msgspec.Struct, frozen=True):
    """All of it."""

    verdict: str
    """Which is better, by how much, how sure: one or two sentences."""
    replay: State
    input: Input
    speed: Speed
    reference: Reference | None
    matched: Matched | None
    gold_left_out: list[Listed]
    earlier: Earlier | None
    labels: list[str]
    """The order of tables of labels."""
    scored: int
    """Posts with a reference that all contestants answered: the figures are of these."""
    contestants: list[Contestant]
    pairs: list[Pair]
    step_s: int
    """Length of a step of `over_time`."""
    over_time: list[Step]
    by_language: list[Group]
    by_source: list[Group]
    disagreements: list[Disagreements]
    format: int = FORMAT
