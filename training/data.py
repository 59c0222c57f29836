"""Labelled texts, and how several sources become one training set that leaks nothing.

A target is a row of seven numbers: a distribution over the six emotions, and how neutral the text is
(0 to 1). Either half may be unknown: the six are then all 0, the seventh is `UNKNOWN`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from worker.errors import ConfigurationError
from worker.model.text import normaliser
from worker.types import EMOTIONS

Targets = NDArray[np.float32]
"""(n, 7) as above."""

SplitName = Literal["train", "validation", "test"]
SPLITS: tuple[SplitName, ...] = ("train", "validation", "test")

SIX = len(EMOTIONS)
UNKNOWN = -1.0
"""In the neutral column: nobody has said."""


@dataclass(frozen=True)
class Split:
    """Texts with their targets."""

    texts: Sequence[str]
    targets: Targets

    def __post_init__(self) -> None:
        if self.targets.shape != (len(self.texts), SIX + 1):
            raise ValueError(f"{len(self.texts)} texts, targets of shape {self.targets.shape}")

    def __len__(self) -> int:
        return len(self.texts)

    @property
    def emotion(self) -> NDArray[np.intp]:
        """(n,) the one emotion of each row, -1 where it expresses none, several or unknown ones."""
        six = self.targets[:, :SIX]
        return np.where(six.max(axis=1, initial=0) == 1, six.argmax(axis=1), -1)

    @property
    def neutral(self) -> NDArray[np.intp]:
        """(n,) 1 for wholly neutral, 0 for not at all, -1 for in between or unknown."""
        share = self.targets[:, SIX]
        return np.where((share == 0) | (share == 1), share, -1).astype(np.intp)

    def rows(self, chosen: NDArray[np.bool_] | Sequence[int]) -> Split:
        """Some of the rows, by mask or by index."""
        index = np.asarray(chosen)
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        index = index.astype(np.intp)
        return Split([self.texts[row] for row in index], self.targets[index])


@dataclass(frozen=True)
class Source:
    """A data set with its published splits."""

    key: str
    """Short name, the first half of a score's key: `emotion` of `emotion/test`."""
    name: str
    licence: str
    citation: str
    splits: Mapping[SplitName, Split]


@dataclass(frozen=True)
class Audit:
    """What is wrong with training rows as they were published."""

    empty: int
    """Rows without a text."""
    repeated: int
    """Rows whose text stood there before."""
    conflicting: int
    """Texts that stand there more than once, with different targets."""
    held_out: int
    """Rows whose text stands in a validation or test split, of any source."""


@dataclass(frozen=True)
class Extra:
    """Rows that people added, beside those of the data sets."""

    rows: int
    """Training rows, after cleaning."""
    held_out: int
    """Left out: the text stands in a validation or test split."""
    neutral: int
    """Left out: said to be neutral, where no data set could teach or calibrate that."""


@dataclass(frozen=True)
class Corpus:
    """What a model is trained and measured on; every text is normalised."""

    train: Split
    """Rows of which something is known."""
    train_rows: Mapping[str, int]
    """Training rows by source key, after cleaning."""
    audit: Audit
    """Of the labelled rows before cleaning."""
    unlabelled: Sequence[str]
    """Texts of which nothing is known, for teachers to label; none stands among the others."""
    extra: Extra
    """What became of the rows that people added."""
    sources: Sequence[Source]

    @property
    def has_neutral(self) -> bool:
        """Whether any training row is neutral, so that a gate can be learnt."""
        return bool((self.train.targets[:, SIX] > 0).any())


def load_sources(folders: Sequence[Path]) -> list[Source]:
    """The data sets in some folders; dair-ai/emotion from the Hugging Face hub where none is given.

    Raises:
        ConfigurationError: A folder is of no known form; lists every problem of every folder.
        DependencyError: No folder is given and the hub cannot be reached.
    """
    from training.sources import read_folder, read_hub

    if not folders:
        return [read_hub()]
    sources: list[Source] = []
    problems: list[str] = []
    for folder in folders:
        try:
            sources.append(read_folder(folder))
        except ConfigurationError as error:
            problems += error.problems
    keys = [source.key for source in sources]
    problems += [f"two data folders are called {key}" for key in set(keys) if keys.count(key) > 1]
    if problems:
        raise ConfigurationError(problems)
    return sources


def build_corpus(
    sources: Sequence[Source],
    text_version: int,
    unlabelled: Sequence[str] = (),
    *,
    extra: Split | None = None,
    deduplicate: bool = True,
) -> Corpus:
    """Normalise every text, then clean the training rows: see `clean_train`.

    Args:
        sources: The data sets.
        text_version: Of `worker.model.text.normalise`.
        unlabelled: More texts, as they were written; those that stand in a data set are dropped.
        extra: Rows that people added, as they were written. A text of theirs that stands in a training split
            too counts as one more copy; one of a held-out split is left out always.
        deduplicate: Whether to clean at all; published models were trained on the rows as they are.
    """
    normalise = normaliser(text_version)
    clean = [_normalised(source, normalise) for source in sources]
    more = Split(list(map(normalise, unlabelled)), nothing_known(len(unlabelled)))
    labelled = [source.splits["train"] for source in clean]
    forbidden = held_out(clean)
    added, account = _extra(extra, labelled, forbidden, normalise)
    splits = [*labelled, added, more]
    rows, origin = clean_train(splits, forbidden) if deduplicate else join(splits)
    known = (rows.targets[:, :SIX] > 0).any(axis=1) | (rows.targets[:, SIX] != UNKNOWN)
    kept = np.bincount(origin[known], minlength=len(splits))
    return Corpus(
        train=rows.rows(known),
        train_rows={source.key: int(kept[index]) for index, source in enumerate(clean)},
        audit=audit(labelled, forbidden),
        unlabelled=rows.rows(~known).texts,
        extra=replace(account, rows=int(kept[len(clean)])),
        sources=clean,
    )


def _extra(
    given: Split | None, labelled: Sequence[Split], forbidden: set[str], normalise: Callable[[str], str]
) -> tuple[Split, Extra]:
    """The rows that people added and that may be trained on, and what became of the others."""
    if given is None:
        return Split([], nothing_known(0)), Extra(0, 0, 0)
    split = Split([normalise(text) for text in given.texts], given.targets)
    held = np.array([_key(text) in forbidden for text in split.texts], dtype=np.bool_)
    neutral = split.targets[:, SIX] > 0
    if any((other.targets[:, SIX] > 0).any() for other in labelled):
        neutral[:] = False
    return split.rows(~held & ~neutral), Extra(0, int(held.sum()), int((neutral & ~held).sum()))


def held_out(sources: Sequence[Source]) -> set[str]:
    """The texts of every validation and test split, in lower case."""
    return {
        _key(text)
        for source in sources
        for name in SPLITS
        if name != "train"
        for text in source.splits[name].texts
    }


def nothing_known(count: int) -> Targets:
    """(count, 7) targets of texts that nobody has labelled."""
    targets = np.zeros((count, SIX + 1), np.float32)
    targets[:, SIX] = UNKNOWN
    return targets


def audit(splits: Sequence[Split], forbidden: Iterable[str]) -> Audit:
    """Count what `clean_train` would mend.

    Args:
        splits: One a source, texts normalised.
        forbidden: As `held_out` makes them.
    """
    forbidden = set(forbidden)
    seen: dict[str, set[bytes]] = {}
    empty = repeated = leaked = 0
    for split in splits:
        for text, target in zip(split.texts, split.targets, strict=True):
            key = _key(text)
            empty += not text
            repeated += key in seen
            leaked += key in forbidden
            seen.setdefault(key, set()).add(target.tobytes())
    conflicting = sum(len(targets) > 1 for targets in seen.values())
    return Audit(empty, repeated, conflicting, leaked)


def join(splits: Sequence[Split]) -> tuple[Split, NDArray[np.intp]]:
    """All rows, and (n,) the index of the split each came from."""
    texts = [text for split in splits for text in split.texts]
    targets = np.concatenate([split.targets for split in splits])
    return Split(texts, targets), np.repeat(np.arange(len(splits)), [len(split) for split in splits])


def clean_train(splits: Sequence[Split], forbidden: Iterable[str] = ()) -> tuple[Split, NDArray[np.intp]]:
    """Merge training splits into one without repeated or held-out texts.

    A repeated text stays once, with the mean of what its copies say: conflicting labels become a
    soft target. In dair-ai/emotion 30 of 31 repeated training texts carry conflicting labels, and 16
    training texts stand in the validation or test split, each with another label.

    Args:
        splits: One a source, texts normalised.
        forbidden: Texts to leave out, as `held_out` makes them.

    Returns:
        The rows in order of first appearance, and (n,) the index of the split each came from.
    """
    forbidden = set(forbidden)
    copies: dict[str, list[tuple[int, int]]] = {}
    for index, split in enumerate(splits):
        for row, text in enumerate(split.texts):
            if text and (key := _key(text)) not in forbidden:
                copies.setdefault(key, []).append((index, row))
    texts, targets, origin = [], np.zeros((len(copies), SIX + 1), np.float32), []
    for number, places in enumerate(copies.values()):
        index, row = places[0]
        texts.append(splits[index].texts[row])
        targets[number] = _mean_target([splits[i].targets[j] for i, j in places])
        origin.append(index)
    return Split(texts, targets), np.array(origin, dtype=np.intp)


def _mean_target(copies: Sequence[Targets]) -> Targets:
    """(7,) the mean over those copies that know."""
    if len(copies) == 1:
        return copies[0]
    stacked = np.stack(copies)
    six = stacked[stacked[:, :SIX].sum(axis=1) > 0, :SIX]
    neutral = stacked[stacked[:, SIX] != UNKNOWN, SIX]
    mean = np.zeros(SIX + 1, np.float32)
    if len(six):
        mean[:SIX] = six.mean(axis=0)
    mean[SIX] = neutral.mean() if len(neutral) else UNKNOWN
    return mean


def _normalised(source: Source, normalise: Callable[[str], str]) -> Source:
    splits: dict[SplitName, Split] = {
        name: Split([normalise(text) for text in split.texts], split.targets)
        for name, split in source.splits.items()
    }
    return Source(source.key, source.name, source.licence, source.citation, splits)


def _key(text: str) -> str:
    """Texts that differ in case alone are one text: most bases cannot tell them apart."""
    return text.casefold()
