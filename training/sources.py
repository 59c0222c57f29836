"""The data sets that training reads, each in the form in which it is published."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from training.data import SIX, SPLITS, UNKNOWN, Source, Split, SplitName, Targets
from worker.errors import ConfigurationError, DependencyError
from worker.types import EMOTIONS

DAIR_EMOTION = "dair-ai/emotion"
_DAIR_TRAIN_SHA256 = "3ab03d945a6cb783d818ccd06dafd52d2ed8b4f62f0f85a09d7d11870865b190"
_DAIR_LICENCE = "research and education only; cite Saravia et al. 2018"
_DAIR_CITATION = (
    "Saravia, Liu, Huang, Wu and Chen (2018): CARER: Contextualized Affect Representations for"
    " Emotion Recognition. EMNLP. https://aclanthology.org/D18-1404"
)
_GOEMOTIONS_CITATION = (
    "Demszky, Movshovitz-Attias, Ko, Cowen, Nemade and Ravi (2020): GoEmotions: A Dataset of"
    " Fine-Grained Emotions. ACL. https://aclanthology.org/2020.acl-main.372"
)

GOEMOTIONS_TO_SIX = {
    "sadness": ("sadness", "disappointment", "embarrassment", "grief", "remorse"),
    "joy": ("joy", "admiration", "amusement", "excitement", "gratitude", "optimism", "pride", "relief"),
    "love": ("love", "caring", "desire"),
    "anger": ("anger", "annoyance", "disgust"),
    "fear": ("fear", "nervousness"),
    "surprise": ("surprise",),
}
"""The authors' own grouping into Ekman's six (their `ekman_mapping.json`), with three changes: love,
caring and desire, there under joy, make up love, as in Parrott's (2001) tree that the classes of
dair-ai/emotion come from; disgust, which has no class, joins anger; and `GOEMOTIONS_OPEN` is left out."""

GOEMOTIONS_OPEN = ("approval", "confusion", "curiosity", "disapproval", "realization")
"""Stances and states of knowing. The authors' grouping files them under joy, anger and surprise, but a
model that learns so reads every question as surprise and every "I agree" as joy. A text with no other
label says nothing about the six or about neutral: it is left to teachers, or out."""

_SPLIT_FILES: dict[str, dict[SplitName, str]] = {
    "emotion": {"train": "train.txt", "validation": "val.txt", "test": "test.txt"},
    "goemotions": {"train": "train.tsv", "validation": "dev.tsv", "test": "test.tsv"},
}
_SHOWN_PROBLEMS = 5


class _Row(NamedTuple):
    text: str
    label: str


def read_folder(folder: Path) -> Source:
    """Read a data set by what its folder holds.

    `emotions.txt` beside `train.tsv` is GoEmotions; `train.txt` with lines of `text;label` is the form
    of dair-ai/emotion, for that set or any other.

    Raises:
        ConfigurationError: The folder is of neither form, incomplete, or holds lines that are wrong.
    """
    if (folder / "emotions.txt").is_file():
        return _read_goemotions(folder)
    if (folder / "train.txt").is_file():
        return _read_emotion(folder)
    raise ConfigurationError(
        [
            f"{folder} holds no data set: expected train.txt, val.txt and test.txt with lines of"
            " 'text;label', or GoEmotions' emotions.txt, train.tsv, dev.tsv and test.tsv"
        ]
    )


def read_hub() -> Source:
    """Load dair-ai/emotion, configuration `split`, from the Hugging Face hub.

    Raises:
        DependencyError: The hub cannot be reached, or `datasets` is not installed.
    """
    try:
        from datasets import load_dataset

        loaded = load_dataset(DAIR_EMOTION, "split")
    except Exception as error:  # The hub's client raises a dozen unrelated types.
        reason = f"{DAIR_EMOTION} could not be loaded ({type(error).__name__})"
        raise DependencyError(
            "Hugging Face hub", f"{reason}; give the folder of a data set with --data DIR"
        ) from error
    splits = {
        name: Split(list(loaded[name]["text"]), _one_emotion(np.asarray(loaded[name]["label"])))
        for name in SPLITS
    }
    return Source("emotion", DAIR_EMOTION, _DAIR_LICENCE, _DAIR_CITATION, splits)


def _read_emotion(folder: Path) -> Source:
    """Lines of `text;label`; the last semicolon separates."""

    def parse(line: str) -> _Row:
        text, _, label = line.rpartition(";")
        if label not in EMOTIONS:
            raise ValueError(f"ends with no ';' and one of {', '.join(EMOTIONS)}")
        return _Row(text, label)

    def targets(rows: list[_Row]) -> Targets:
        return _one_emotion(np.array([EMOTIONS.index(row.label) for row in rows], dtype=np.intp))

    splits = _read_splits(folder, "emotion", parse, targets)
    digest = hashlib.sha256((folder / "train.txt").read_bytes()).hexdigest()
    if digest == _DAIR_TRAIN_SHA256:
        return Source("emotion", DAIR_EMOTION, _DAIR_LICENCE, _DAIR_CITATION, splits)
    name = folder.resolve().name
    return Source(name, name, "not stated", "", splits)


def _read_goemotions(folder: Path) -> Source:
    """Lines of `text<TAB>comma-joined ids<TAB>comment id`; `emotions.txt` names the ids in order."""
    names = (folder / "emotions.txt").read_text(encoding="utf-8").split()
    six_of = {fine: six for six, group in GOEMOTIONS_TO_SIX.items() for fine in group}
    unknown = sorted(set(names) - set(six_of) - {"neutral", *GOEMOTIONS_OPEN})
    if unknown:
        raise ConfigurationError(
            [f"{folder / 'emotions.txt'} names emotions that are none of GoEmotions': {unknown}"]
        )

    def parse(line: str) -> _Row:
        fields = line.split("\t")
        if len(fields) != 3 or not all(
            number.isdecimal() and int(number) < len(names) for number in fields[1].split(",")
        ):
            raise ValueError(f"is not text, ids below {len(names)} and a comment id, tab-separated")
        return _Row(fields[0], fields[1])

    def targets(rows: list[_Row]) -> Targets:
        return np.array(
            [go_target([names[int(number)] for number in row.label.split(",")]) for row in rows],
            dtype=np.float32,
        ).reshape(-1, SIX + 1)

    splits = _read_splits(folder, "goemotions", parse, targets)
    return Source("goemotions", "GoEmotions", "CC BY 4.0", _GOEMOTIONS_CITATION, splits)


def go_target(labels: list[str]) -> list[float]:
    """The seven numbers for a set of GoEmotions' labels.

    Each label that is not open counts the same: neutral is the share of them that say so, the six
    share the rest. Where all are open, nothing is known.
    """
    target = [0.0] * (SIX + 1)
    for six, group in GOEMOTIONS_TO_SIX.items():
        target[EMOTIONS.index(six)] = float(sum(label in group for label in labels))
    emotional, neutral = sum(target), float("neutral" in labels)
    if emotional:
        target = [share / emotional for share in target]
    target[SIX] = neutral / (emotional + neutral) if emotional + neutral else UNKNOWN
    return target


def _one_emotion(ids: NDArray[np.integer]) -> Targets:
    """Certain targets. Every text of dair-ai/emotion expresses an emotion, so none is neutral."""
    targets = np.zeros((len(ids), SIX + 1), np.float32)
    targets[np.arange(len(ids)), ids] = 1
    return targets


def _read_splits(
    folder: Path,
    form: str,
    parse: Callable[[str], _Row],
    targets: Callable[[list[_Row]], Targets],
) -> dict[SplitName, Split]:
    """Read the three files of a folder, or raise ConfigurationError with all that is wrong."""
    splits: dict[SplitName, Split] = {}
    problems: list[str] = []
    for name, file_name in _SPLIT_FILES[form].items():
        rows: list[_Row] = []
        try:
            lines = list(_lines(folder / file_name))
        except (OSError, UnicodeDecodeError) as error:
            problems.append(f"{folder / file_name} cannot be read: {error}")
            continue
        wrong = []
        for number, line in lines:
            try:
                rows.append(parse(line))
            except ValueError as error:
                wrong.append(f"{folder / file_name}, line {number} {error}")
        problems += wrong[:_SHOWN_PROBLEMS]
        if len(wrong) > _SHOWN_PROBLEMS:
            problems.append(f"{folder / file_name}: {len(wrong) - _SHOWN_PROBLEMS} more such lines")
        if not rows and not wrong:
            problems.append(f"{folder / file_name} is empty")
        splits[name] = Split([row.text for row in rows], targets(rows))
    if problems:
        raise ConfigurationError(problems)
    return splits


def _lines(file: Path) -> Iterator[tuple[int, str]]:
    """Lines that are not blank, numbered from 1; only a line feed ends one."""
    for number, line in enumerate(file.read_text(encoding="utf-8").split("\n"), start=1):
        if line.strip():
            yield number, line.rstrip("\r")
