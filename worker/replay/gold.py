"""Labelled texts as `moodstream evaluate` reads them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from worker.errors import ConfigurationError
from worker.types import LABELS

_SUFFIXES = (".txt", ".jsonl")
_OTHER_NAMES = {"validation": ("val", "dev", "valid")}
"""The split that every data set calls by another name."""


class Gold(msgspec.Struct, frozen=True):
    """A text with its true label."""

    text: str
    label: str


def read_gold(data: Path, split: str) -> list[Gold]:
    """Read `text;label` lines or JSON lines with `text` and `label`.

    Args:
        data: Such a file, or a folder that holds SPLIT.txt or SPLIT.jsonl.
        split: Which part of the folder; `validation` finds val, dev and valid too.

    Raises:
        ConfigurationError: listing every line that is wrong, and what was looked for.
    """
    file = _file(data, split) if data.is_dir() else data
    problems: list[str] = []
    gold = list(_rows(file, problems))
    if problems or not gold:
        raise ConfigurationError(problems or [f"{file}: no labelled text in it"])
    return gold


def read_posts(file: Path) -> list[str]:
    """The texts of a file, one a line; a known label after the last semicolon is taken off.

    Raises:
        ConfigurationError: it cannot be read, is not UTF-8, or holds no text.
    """
    try:
        lines = file.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"{file}: cannot be read as UTF-8 text: {error}"]) from error
    texts = [_without_label(line) for line in lines if line.strip()]
    if not texts:
        raise ConfigurationError([f"{file}: no text in it"])
    return texts


def _file(folder: Path, split: str) -> Path:
    names = [f"{name}{suffix}" for name in (split, *_OTHER_NAMES.get(split, ())) for suffix in _SUFFIXES]
    found = [folder / name for name in names if (folder / name).is_file()]
    if not found:
        raise ConfigurationError([f"{folder}: no split {split!r}; looked for {', '.join(names)}"])
    return found[0]


def _rows(file: Path, problems: list[str]) -> Iterator[Gold]:
    for number, line in enumerate(file.read_bytes().splitlines(), start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=Gold) if file.suffix == ".jsonl" else _split(line.decode())
        except (msgspec.MsgspecError, ValueError) as error:
            problems.append(f"{file.name}:{number}: {error}")
            continue
        if row.label not in LABELS:
            problems.append(f"{file.name}:{number}: unknown label {row.label!r}; known: {', '.join(LABELS)}")
            continue
        yield row


def _split(line: str) -> Gold:
    text, separator, label = line.rpartition(";")
    if not separator:
        raise ValueError("not `text;label`")
    return Gold(text, label.strip())


def _without_label(line: str) -> str:
    text, _, label = line.rpartition(";")
    return text if text.strip() and label.strip() in LABELS else line.rstrip("\r")
