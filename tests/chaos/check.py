"""What was promised, against what was read. Pure; knows no Kafka and no Redis.

each input     one label, tombstone or dead letter, and it is its own
none twice
each key       outcomes of each topic in the order of the inputs
trends         for every minute, emotion and source what the labels add up to
the truth      every record that was sent is in the input topics, once
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

Kind = Literal["post", "deletion", "poison"]
Cell = tuple[int, str, str]
"""Minute (epoch seconds), emotion, source: where a label counts."""
_EXAMPLES = 12


class Input(NamedTuple):
    """A record of an input topic."""

    ref: str
    """`topic/partition/offset`."""
    key: str
    number: int
    """Of the producer: each once."""
    kind: Kind
    content: int
    """Of a post: a check sum of id and text. Of poison: of the bytes."""


class Label(NamedTuple):
    """A record of the labels topic; in the order of each partition."""

    partition: int
    key: str
    ref: str
    content: int
    cell: Cell
    offset: int = -1
    """In its partition; for whoever looks into what was found."""


class Tombstone(NamedTuple):
    """A deletion in the labels topic."""

    partition: int
    key: str


class DeadLetter(NamedTuple):
    """A record of the dead letters topic; in the order of each partition."""

    partition: int
    key: str
    ref: str
    content: int
    offset: int = -1


class Read(NamedTuple):
    """All that a run has left behind."""

    sent: int
    inputs: Sequence[Input]
    """Each partition's in the order of its offsets."""
    labels: Sequence[Label | Tombstone]
    dead: Sequence[DeadLetter]
    trends: Mapping[Cell, int]


@dataclass
class Verdict:
    """What was found, by kind."""

    lost: int = 0
    """Inputs without an outcome."""
    doubled: int = 0
    """Outcomes beyond the first of an input."""
    wrong: int = 0
    """Outcomes of no input, of the wrong kind, or with another's content or key."""
    out_of_order: int = 0
    """Outcomes before which a later one of the same key stands, and keys in two partitions."""
    trends_off: int = 0
    """Labels that trends count too often or not at all."""
    input_lost: int = 0
    """Records that were confirmed to the producer and are not in the topic."""
    input_doubled: int = 0
    """Records that Kafka or the producer has written more than once. No fault of ours: each copy is an input
    of its own, and must have its own outcome."""
    examples: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        broken = (self.lost, self.doubled, self.wrong, self.out_of_order, self.trends_off, self.input_lost)
        return not any(broken)

    def note(self, what: str) -> None:
        if len(self.examples) < _EXAMPLES:
            self.examples.append(what)


def check(read: Read) -> Verdict:
    """Hold what was read against what was promised."""
    verdict = Verdict()
    _truth(read, verdict)
    by_ref = {item.ref: item for item in read.inputs}
    place = {item.ref: index for index, item in enumerate(read.inputs)}
    labels = [one for one in read.labels if isinstance(one, Label)]
    _outcomes(by_ref, labels, "post", verdict)
    _outcomes(by_ref, read.dead, "poison", verdict)
    deletions = _deletions(read, verdict)
    _order(_label_places(read.labels, place, deletions), verdict)
    _order(((one.key, one.partition, place.get(one.ref)) for one in read.dead), verdict)
    _trends(labels, read.trends, verdict)
    return verdict


def _truth(read: Read, verdict: Verdict) -> None:
    seen: defaultdict[int, list[str]] = defaultdict(list)
    for item in read.inputs:
        seen[item.number].append(item.ref)
    for number in range(read.sent):
        if number not in seen:
            verdict.input_lost += 1
            verdict.note(f"record {number} was sent and is in no input topic")
    for number, refs in seen.items():
        if len(refs) > 1:
            verdict.input_doubled += len(refs) - 1
            verdict.note(f"record {number} is in the input topics as {', '.join(refs)}")


def _outcomes(
    by_ref: Mapping[str, Input], found: Sequence[Label] | Sequence[DeadLetter], kind: Kind, verdict: Verdict
) -> None:
    seen: Counter[str] = Counter()
    where: dict[str, str] = {}
    for one in found:
        at = f"{one.partition}/{one.offset}"
        item = by_ref.get(one.ref)
        if item is None or (item.kind, item.key, item.content) != (kind, one.key, one.content):
            verdict.wrong += 1
            verdict.note(f"{one} is not the outcome of {item}")
        seen[one.ref] += 1
        if seen[one.ref] > 1:
            verdict.doubled += 1
            verdict.note(f"{one.ref} ({kind}) has {seen[one.ref]} outcomes, at {where[one.ref]} and {at}")
        where[one.ref] = at
    for item in by_ref.values():
        if item.kind == kind and not seen[item.ref]:
            verdict.lost += 1
            verdict.note(f"{item.ref} ({kind}) has no outcome")


def _deletions(read: Read, verdict: Verdict) -> dict[str, list[str]]:
    """The deletions of each key, in order. Tombstones hold nothing but the key, so they are counted."""
    expected: defaultdict[str, list[str]] = defaultdict(list)
    for item in read.inputs:
        if item.kind == "deletion":
            expected[item.key].append(item.ref)
    seen = Counter(one.key for one in read.labels if isinstance(one, Tombstone))
    for key in expected.keys() | seen.keys():
        missing = len(expected[key]) - seen[key]
        verdict.lost += max(0, missing)
        verdict.doubled += max(0, -missing)
        if missing:
            verdict.note(f"key {key}: {len(expected[key])} deletions, {seen[key]} tombstones")
    return expected


def _label_places(
    labels: Iterable[Label | Tombstone], place: Mapping[str, int], deletions: Mapping[str, list[str]]
) -> Iterable[tuple[str, int, int | None]]:
    """Key, partition and place among the inputs; the first tombstone of a key is its first deletion's."""
    passed: Counter[str] = Counter()
    for one in labels:
        if isinstance(one, Label):
            yield one.key, one.partition, place.get(one.ref)
            continue
        refs, number = deletions.get(one.key, []), passed[one.key]
        passed[one.key] += 1
        yield one.key, one.partition, place[refs[number]] if number < len(refs) else None


def _order(places: Iterable[tuple[str, int, int | None]], verdict: Verdict) -> None:
    last: dict[str, tuple[int, int]] = {}
    for key, partition, place in places:
        if place is None:
            continue  # no input's outcome, told already
        before = last.get(key)
        if before is not None and (before[0] != partition or before[1] > place):
            verdict.out_of_order += 1
            verdict.note(f"key {key}: input {place} in partition {partition} after {before}")
        last[key] = (partition, place)


def _trends(labels: Iterable[Label], trends: Mapping[Cell, int], verdict: Verdict) -> None:
    expected = Counter(one.cell for one in labels)
    for cell in expected.keys() | trends.keys():
        counted = trends.get(cell, 0)
        if counted != expected[cell]:
            verdict.trends_off += abs(counted - expected[cell])
            verdict.note(f"trends count {counted} for {cell}, the labels {expected[cell]}")
