"""The suite's data file, read and unfolded into cases. Pure but for reading the file."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib import resources
from itertools import product
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from worker.types import LABELS, Emotion, LabelName

Kind = Literal["MFT", "INV", "DIR"]

_SLOT = re.compile(r"\{(\w+)\}")
_Texts = Annotated[list[str], Meta(min_length=1)]


class Expect(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Texts whose label is known, or known not to be."""

    name: str
    capability: str
    texts: _Texts
    labels: list[LabelName] = []
    never: list[LabelName] = []

    def __post_init__(self) -> None:
        if bool(self.labels) == bool(self.never):
            raise ValueError(f"{self.name!r} needs either labels or never")


class Intensity(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Pairs of words, the weaker first, in frames."""

    name: str
    emotion: Emotion
    frames: _Texts
    pairs: Annotated[list[tuple[str, str]], Meta(min_length=1)]


class Addition(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Sentences that raise an emotion wherever they are added."""

    name: str
    emotion: Emotion
    added: _Texts


class SuiteFile(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`suite.toml`; its header says what the tables mean."""

    slack: Annotated[float, Meta(ge=0, lt=1)]
    """By how much a score may fall and still count as not fallen."""
    bases: _Texts
    slots: dict[str, _Texts]
    expect: list[Expect]
    intensity: list[Intensity]
    addition: list[Addition]


@dataclass(frozen=True)
class LabelCase:
    """A text and the labels it may get."""

    text: str
    allowed: frozenset[LabelName]


@dataclass(frozen=True)
class ScoreCase:
    """Two texts; the score of `emotion` must rise by more than `at_least` from the first to the second."""

    before: str
    after: str
    emotion: Emotion
    at_least: float


@dataclass(frozen=True)
class Check:
    """Cases that ask for one thing."""

    kind: Kind
    capability: str
    name: str
    cases: Sequence[LabelCase | ScoreCase]


def read_suite(text: str | None = None) -> list[Check]:
    """Every MFT and DIR check of the suite that comes with moodstream, or of another in the same form.

    Raises:
        msgspec.ValidationError: the file is not of that form, or names a slot that it does not define.
    """
    source = text or resources.files(__package__ or "").joinpath("suite.toml").read_text(encoding="utf-8")
    file = msgspec.toml.decode(source, type=SuiteFile)
    return [
        *(_expect(test, file.slots) for test in file.expect),
        *(_intensity(test, file.slack) for test in file.intensity),
        *(_addition(test, file.bases) for test in file.addition),
    ]


def texts_of(checks: Sequence[Check]) -> list[str]:
    """The texts that are expected to get a label, each once: what the invariances disturb."""
    return list(
        dict.fromkeys(case.text for check in checks for case in check.cases if isinstance(case, LabelCase))
    )


def unfold(template: str, slots: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """Every text of a template; {name} becomes each value of that slot, the same one within a text.

    Raises:
        msgspec.ValidationError: a slot is not defined.
    """
    names = list(dict.fromkeys(_SLOT.findall(template)))
    unknown = [name for name in names if name not in slots]
    if unknown:
        raise msgspec.ValidationError(f"{template!r} names slots that are not defined: {unknown}")
    for values in product(*(slots[name] for name in names)):
        chosen = dict(zip(names, values, strict=True))
        yield template.format_map(chosen)


def _expect(test: Expect, slots: Mapping[str, Sequence[str]]) -> Check:
    allowed = frozenset(test.labels or set(LABELS) - set(test.never))
    texts = dict.fromkeys(text for template in test.texts for text in unfold(template, slots))
    return Check("MFT", test.capability, test.name, [LabelCase(text, allowed) for text in texts])


def _intensity(test: Intensity, slack: float) -> Check:
    cases = [
        ScoreCase(frame.replace("{}", weak), frame.replace("{}", strong), test.emotion, -slack)
        for frame, (weak, strong) in product(test.frames, test.pairs)
    ]
    return Check("MFT", "intensity", test.name, cases)


def _addition(test: Addition, bases: Sequence[str]) -> Check:
    cases = [
        ScoreCase(base, f"{base} {added}", test.emotion, 0.0) for base, added in product(bases, test.added)
    ]
    return Check("DIR", "addition", test.name, cases)
