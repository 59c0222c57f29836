"""Texts that must never be trained on, because somebody measures with them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from worker.errors import ConfigurationError
from worker.model.text import normalise
from worker.replay.gold import read_posts
from worker.types import MAX_LABEL_TEXT

_SUFFIXES = (".txt", ".jsonl", ".tsv")


class _Row(msgspec.Struct):
    text: str


def same_text(text: str) -> str:
    """What two texts share that are one text: cut as labels cut them, normalised as for a model, caseless.

    Links and mentions are alike in it, so a retweeted evaluation text is recognised.
    """
    return normalise(text[:MAX_LABEL_TEXT]).casefold()


def read_all(places: Sequence[Path]) -> frozenset[str]:
    """`same_text` of every text in some folders or files.

    Read are .txt (lines of `text;label`), .jsonl (objects with a "text") and .tsv (the first column).

    Raises:
        ConfigurationError: a place holds none of these, or a file cannot be read; lists every problem.
    """
    found: set[str] = set()
    problems: list[str] = []
    for place in places:
        files = [place] if place.is_file() else sorted(f for f in place.iterdir() if f.suffix in _SUFFIXES)
        if not files:
            problems.append(f"{place}: no {', '.join(_SUFFIXES)} file in it")
        for file in files:
            try:
                found.update(map(same_text, _texts(file)))
            except ConfigurationError as error:
                problems += error.problems
    if problems:
        raise ConfigurationError(problems)
    return frozenset(found)


def _texts(file: Path) -> Iterator[str]:
    if file.suffix == ".jsonl":
        try:
            for line in file.read_bytes().splitlines():
                if line.strip():
                    yield msgspec.json.decode(line, type=_Row).text
        except (OSError, msgspec.MsgspecError) as error:
            raise ConfigurationError([f"{file}: not lines of JSON with a text: {error}"]) from error
        return
    for text in read_posts(file):
        yield text.partition("\t")[0] if file.suffix == ".tsv" else text
