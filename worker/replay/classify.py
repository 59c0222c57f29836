"""`moodstream classify`: label the lines of a file with the serving path."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import BinaryIO, TextIO

import msgspec
from rich.console import Console
from rich.progress import wrap_file

from worker.clock import SystemClock
from worker.model.classifier import Classifier
from worker.replay.offline import answers
from worker.settings import Settings
from worker.stream.role import open_classifier
from worker.types import Label


def classify_lines(source: BinaryIO, target: TextIO, settings: Settings, *, as_json: bool) -> None:
    """Answer each line of `source` by one line of `target`.

    A line that cannot be labelled is answered in its place: an object with `error`, or `-` and the reason.
    """
    classifier = open_classifier(settings)
    with _watched(source, target) as lines:
        _label(lines, target, classifier, settings, as_json=as_json)


def _label(
    lines: BinaryIO, target: TextIO, classifier: Classifier, settings: Settings, *, as_json: bool
) -> None:
    values = (_value(index, line) for index, line in enumerate(lines))
    for answer in answers(values, classifier, settings, SystemClock()):
        target.write(_told(answer, as_json=as_json) + "\n")
    target.flush()


@contextmanager
def _watched(source: BinaryIO, target: TextIO) -> Iterator[BinaryIO]:
    """The source, with a bar on standard error of how much of a file is read, where somebody watches.

    Not where the answers go to the same terminal: they show it themselves.
    """
    console = Console(file=sys.stderr)
    size = _size(source)
    if size is None or not console.is_terminal or target.isatty():
        yield source
        return
    with wrap_file(source, total=size, console=console, description="labelling", transient=True) as lines:
        yield lines


def _size(source: BinaryIO) -> int | None:
    """In bytes; None for what is no file."""
    try:
        found = os.fstat(source.fileno())
    except OSError:
        return None
    return found.st_size if stat.S_ISREG(found.st_mode) else None


def _value(index: int, line: bytes) -> bytes:
    """A JSON object stays as it is, with an id if it has none; anything else is the text itself."""
    line = line.rstrip(b"\r\n")
    if line.lstrip().startswith(b"{"):
        try:
            fields = msgspec.json.decode(line)
        except (msgspec.MsgspecError, RecursionError, UnicodeDecodeError):
            return line
        return msgspec.json.encode({"id": index, **fields})
    try:
        return msgspec.json.encode({"id": index, "text": line.decode()})
    except UnicodeDecodeError:
        return line


def _told(answer: Label | str, *, as_json: bool) -> str:
    if isinstance(answer, str):
        return msgspec.json.encode({"error": answer}).decode() if as_json else f"-\t{answer}"
    if as_json:
        fields = {name: getattr(answer, name) for name in ("id", "label", "score", "scores", "neutral")}
        return msgspec.json.encode(fields).decode()
    return f"{answer.label}\t{answer.score:.3f}"
