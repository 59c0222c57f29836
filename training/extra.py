"""Rows that people added: what `moodstream quality export` writes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec
import numpy as np

from training.data import SIX, Split
from worker.errors import ConfigurationError
from worker.types import EMOTIONS, NEUTRAL, LabelName

_SHOWN_PROBLEMS = 5


class _Row(msgspec.Struct):
    text: str
    label: LabelName
    votes: dict[LabelName, int] = {}
    """How many say what; the label alone where not given."""


def read_extra(files: Sequence[Path]) -> Split:
    """The rows of some files, texts as they were written.

    Raises:
        ConfigurationError: a file cannot be read or holds lines that are wrong; says which.
    """
    rows: list[_Row] = []
    problems: list[str] = []
    for file in files:
        wrong: list[str] = []
        try:
            rows += _rows(file, wrong)
        except OSError as error:
            wrong.append(f"{file} cannot be read: {error.strerror}")
        problems += wrong[:_SHOWN_PROBLEMS]
        if len(wrong) > _SHOWN_PROBLEMS:
            problems.append(f"{file}: {len(wrong) - _SHOWN_PROBLEMS} more such lines")
    if problems:
        raise ConfigurationError(problems)
    targets = np.array([target(row.votes or {row.label: 1}) for row in rows], np.float32)
    return Split([row.text for row in rows], targets.reshape(len(rows), SIX + 1))


def target(votes: Mapping[LabelName, int]) -> list[float]:
    """The seven numbers for what people say of a text: the share that says neutral; the six share the rest.

    Args:
        votes: How many say what; somebody says something.
    """
    neutral = votes.get(NEUTRAL, 0)
    emotional = [votes.get(emotion, 0) for emotion in EMOTIONS]
    total = sum(emotional)
    return [count / total if total else 0.0 for count in emotional] + [neutral / (neutral + total)]


def _rows(file: Path, wrong: list[str]) -> Iterator[_Row]:
    for number, line in enumerate(file.read_bytes().split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = msgspec.json.decode(line, type=_Row)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            wrong.append(f"{file}, line {number}: {error}")
            continue
        if row.votes and (min(row.votes.values()) < 0 or not sum(row.votes.values())):
            wrong.append(f"{file}, line {number}: votes say nothing")
        else:
            yield row
