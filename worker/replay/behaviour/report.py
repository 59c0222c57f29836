"""What the suite found, for machines and for people. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import get_args

import msgspec

from worker.replay.behaviour.suite import Kind

KINDS: tuple[Kind, ...] = get_args(Kind)

MEANING: dict[Kind, str] = {
    "MFT": "minimum functionality: plain cases get the label that they state",
    "INV": "invariance: a disturbed text keeps its label",
    "DIR": "direction: an added sentence raises the score of its emotion",
}


class Outcome(msgspec.Struct, frozen=True):
    """One test's cases, counted."""

    kind: Kind
    capability: str
    name: str
    n: int
    passed: int
    examples: tuple[str, ...] = ()
    """A few cases that failed, with what was answered; only of the suite's own texts."""

    @property
    def rate(self) -> float:
        """Share of cases that passed; 1 where there are none."""
        return self.passed / self.n if self.n else 1.0


class Behaviour(msgspec.Struct, frozen=True):
    """The outcome of every test of the suite."""

    outcomes: tuple[Outcome, ...]

    def total(self, kind: Kind) -> Outcome:
        """All cases of a kind as one."""
        return _together(kind, "", "all", [one for one in self.outcomes if one.kind == kind])

    def by_capability(self) -> Iterator[Outcome]:
        """The tests of a kind and capability as one; each invariance stays by itself."""
        keys = dict.fromkeys((one.kind, one.capability) for one in self.outcomes)
        for kind, capability in keys:
            same = [one for one in self.outcomes if (one.kind, one.capability) == (kind, capability)]
            yield _together(kind, capability, capability, same)

    def worst(self) -> float:
        """The lowest pass rate among the three kinds."""
        return min(self.total(kind).rate for kind in KINDS)

    def figures(self) -> dict[str, float]:
        """Pass rate and number of cases of each kind, such as `mft` and `mft_rows`, as in a manifest."""
        found: dict[str, float] = {}
        for kind in KINDS:
            total = self.total(kind)
            found |= {kind.lower(): total.rate, f"{kind.lower()}_rows": float(total.n)}
        return found

    def markdown(self) -> str:
        """A short table, a row for each capability."""
        rows = [f"| {one.kind} | {one.name} | {one.n} | {one.rate:.1%} |" for one in self.by_capability()]
        totals = [
            f"| **{kind}** | **all** | {self.total(kind).n} | **{self.total(kind).rate:.1%}** |"
            for kind in KINDS
        ]
        return "\n".join(["| kind | what | cases | passed |", "|---|---|---:|---:|", *rows, *totals])

    def as_json(self) -> dict[str, object]:
        """For the last line of `moodstream behaviour --json`."""
        return {
            **self.figures(),
            "tests": [{**msgspec.to_builtins(one), "rate": one.rate} for one in self.outcomes],
        }


def _together(kind: Kind, capability: str, name: str, outcomes: Sequence[Outcome]) -> Outcome:
    return Outcome(
        kind, capability, name, sum(one.n for one in outcomes), sum(one.passed for one in outcomes)
    )
