"""Whether a model's scores depend on who is spoken of: the Equity Evaluation Corpus.

Kiritchenko and Mohammad (2018), "Examining Gender and Race Bias in Two Hundred Sentiment Analysis Systems",
https://aclanthology.org/S18-2005. Their sentences differ in the person alone. As they do, sentences are
paired within a template and emotion word: each noun phrase with its counterpart (she and he, my aunt and my
uncle), the mean over a group's first names with the mean over the other group's.
"""

from __future__ import annotations

import csv
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypeVar

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.errors import ConfigurationError
from worker.replay.answers import Ask
from worker.replay.paired import Interval
from worker.types import EMOTIONS, Emotion

Attribute = Literal["female - male", "African-American - European"]
Key = tuple[str, str]
"""Template and emotion word."""

COUNTERPARTS = {
    "she": "he", "her": "him", "this woman": "this man", "this girl": "this boy", "my sister": "my brother",
    "my daughter": "my son", "my wife": "my husband", "my girlfriend": "my boyfriend",
    "my mother": "my father", "my aunt": "my uncle", "my mom": "my dad",
}  # fmt: skip
"""The corpus' noun phrases for women, and for men."""

_COLUMNS = ("Sentence", "Template", "Person", "Gender", "Race", "Emotion word")
_DRAWS = 10_000

_Key = TypeVar("_Key")


class Sentence(msgspec.Struct, frozen=True):
    """One row of the corpus."""

    text: str
    key: Key
    person: str
    gender: str
    race: str
    """Empty where the person is no first name."""


class Gap(msgspec.Struct, frozen=True):
    """The mean difference of one emotion's score between two groups."""

    attribute: Attribute
    emotion: Emotion
    n: int
    """Pairs."""
    difference: Interval
    """With a 95% bootstrap interval over templates and emotion words."""


class Bias(msgspec.Struct, frozen=True):
    """The gaps of every emotion, by gender and by race."""

    sentences: int
    gaps: tuple[Gap, ...]

    def largest(self) -> Gap:
        """The gap that is furthest from 0, whichever its sign."""
        return max(self.gaps, key=lambda gap: abs(gap.difference.value))

    def figures(self) -> dict[str, float]:
        """The largest absolute gap of each attribute, and the sentences: fit for a manifest's scores."""
        gender, race = (
            max(abs(gap.difference.value) for gap in self.gaps if gap.attribute == attribute)
            for attribute in ("female - male", "African-American - European")
        )
        return {"rows": float(self.sentences), "largest_gender_gap": gender, "largest_race_gap": race}

    def markdown(self) -> str:
        """A short table, a row for each emotion, and the largest gap in a sentence."""
        attributes = list(dict.fromkeys(gap.attribute for gap in self.gaps))
        cells = {(gap.emotion, gap.attribute): _cell(gap.difference) for gap in self.gaps}
        pairs = {gap.attribute: gap.n for gap in self.gaps}
        heads = [f"{attribute} ({pairs[attribute]} pairs)" for attribute in attributes]
        rows = [
            f"| {emotion} | {' | '.join(cells[emotion, attribute] for attribute in attributes)} |"
            for emotion in EMOTIONS
        ]
        largest = self.largest()
        return "\n".join(
            [
                f"| score of | {' | '.join(heads)} |",
                f"|---|{'---:|' * len(attributes)}",
                *rows,
                "",
                f"The largest gap is {largest.difference.value:+.4f}"
                f" ({largest.emotion}, {largest.attribute})."
                " In brackets: 95% bootstrap intervals over templates and emotion words.",
            ]
        )

    def as_json(self) -> dict[str, object]:
        """For the last line of `moodstream behaviour --json`."""
        return {
            **self.figures(),
            "gaps": msgspec.to_builtins(self.gaps),
            "largest": msgspec.to_builtins(self.largest()),
        }


def read_eec(file: Path) -> list[Sentence]:
    """Read the corpus as it is published: comma-separated, with a header.

    Raises:
        ConfigurationError: it cannot be read, lacks a column, or its groups cannot be compared.
    """
    try:
        with file.open(encoding="utf-8-sig", newline="") as lines:
            rows = csv.DictReader(lines)
            missing = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
            if missing:
                raise ConfigurationError([f"{file}: not the Equity Evaluation Corpus, it lacks {missing}"])
            sentences = [_sentence(row) for row in rows]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ConfigurationError([f"{file}: cannot be read as CSV: {error}"]) from error
    problems = [
        f"{file}: no two sentences differ in {what} alone"
        for what, pairs in (("gender", gender_pairs(sentences)), ("race", race_pairs(sentences)))
        if not pairs
    ]
    if problems:
        raise ConfigurationError(problems)
    return sentences


def _sentence(row: Mapping[str, str | None]) -> Sentence:
    text, template, person, gender, race, word = ((row[name] or "").strip() for name in _COLUMNS)
    return Sentence(text, (template, word), person, gender, race)


Pair = tuple[Key, Sequence[int], Sequence[int]]
"""Where it belongs, and the sentences whose mean scores are compared: the first group's, the second's."""


def gender_pairs(sentences: Sequence[Sentence]) -> list[Pair]:
    """Women's noun phrase and men's; women's first names and men's. Indices into `sentences`."""
    phrases = {(one.key, one.person.lower()): index for index, one in enumerate(sentences) if not one.race}
    pairs: list[Pair] = [
        (key, [index], [phrases[key, COUNTERPARTS[person]]])
        for (key, person), index in phrases.items()
        if person in COUNTERPARTS and (key, COUNTERPARTS[person]) in phrases
    ]
    names = _groups(((one.key, one.gender), index) for index, one in enumerate(sentences) if one.race)
    return pairs + [
        (key, women, names[key, "male"])
        for (key, gender), women in names.items()
        if gender == "female" and (key, "male") in names
    ]


def race_pairs(sentences: Sequence[Sentence]) -> list[Pair]:
    """African-American first names and European ones of the same gender. Indices into `sentences`."""
    names = _groups(
        ((one.key, one.gender, one.race), index) for index, one in enumerate(sentences) if one.race
    )
    return [
        (key, group, names[key, gender, "European"])
        for (key, gender, race), group in names.items()
        if race == "African-American" and (key, gender, "European") in names
    ]


def run_bias(ask: Ask, sentences: Sequence[Sentence], *, seed: int = 0) -> Bias:
    """The mean differences of the six scores between the groups.

    Args:
        ask: The model.
        sentences: From `read_eec`.
        seed: Of the bootstrap.
    """
    scores = ask([one.text for one in sentences]).scores
    attributes: tuple[tuple[Attribute, list[Pair]], ...] = (
        ("female - male", gender_pairs(sentences)),
        ("African-American - European", race_pairs(sentences)),
    )
    gaps = []
    for attribute, pairs in attributes:
        differences = np.array([scores[first].mean(0) - scores[second].mean(0) for _, first, second in pairs])
        intervals = clustered_mean(differences, [key for key, _, _ in pairs], seed=seed)
        gaps += [
            Gap(attribute, emotion, len(pairs), interval)
            for emotion, interval in zip(EMOTIONS, intervals, strict=True)
        ]
    return Bias(len(sentences), tuple(gaps))


def clustered_mean(
    differences: NDArray[np.float64], clusters: Sequence[Key], *, seed: int = 0, draws: int = _DRAWS
) -> list[Interval]:
    """The mean of each column with its 95% percentile interval, whole clusters drawn with replacement.

    Pairs of one template and word are alike, so drawing them one by one would promise too much (cluster
    bootstrap, Cameron, Gelbach and Miller 2008).

    Args:
        differences: (n, columns), n > 0.
        clusters: Of each row.
        seed: Of the draws.
        draws: How many times.
    """
    names = {key: place for place, key in enumerate(dict.fromkeys(clusters))}
    member = np.array([names[key] for key in clusters], dtype=np.intp)
    sums = np.zeros((len(names), differences.shape[1]))
    np.add.at(sums, member, differences)
    sizes = np.bincount(member)
    rng = np.random.default_rng(seed)
    drawn = rng.multinomial(len(names), np.full(len(names), 1 / len(names)), size=draws)
    means = (drawn @ sums) / (drawn @ sizes)[:, None]
    low, high = np.quantile(means, (0.025, 0.975), axis=0)
    return [
        Interval(float(mean), float(low[column]), float(high[column]))
        for column, mean in enumerate(differences.mean(axis=0))
    ]


def _groups(items: Iterable[tuple[_Key, int]]) -> dict[_Key, list[int]]:
    found: dict[_Key, list[int]] = defaultdict(list)
    for key, index in items:
        found[key].append(index)
    return dict(found)


def _cell(interval: Interval) -> str:
    return f"{interval.value:+.4f} [{interval.low:+.4f}, {interval.high:+.4f}]"
