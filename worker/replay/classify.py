"""`moodstream classify`: label the lines of a file with the serving path."""

from __future__ import annotations

from typing import BinaryIO, TextIO

import msgspec

from worker.clock import SystemClock
from worker.replay.offline import run_offline
from worker.settings import Settings
from worker.stream.role import open_classifier
from worker.types import Label


def classify_lines(source: BinaryIO, target: TextIO, settings: Settings, *, as_json: bool) -> None:
    """Answer each line of `source` by one line of `target`.

    A line that cannot be labelled is answered in its place: an object with `error`, or `-` and the reason.
    """
    classifier = open_classifier(settings)
    values = (_value(index, line) for index, line in enumerate(source))
    for record in run_offline(values, classifier, settings, SystemClock()):
        if record.topic == settings.topics.labels and record.value is not None:
            label = msgspec.json.decode(record.value, type=Label)
            target.write(_answer(label, as_json=as_json) + "\n")
        else:
            message = dict(record.headers).get("moodstream.message")
            reason = message.decode() if isinstance(message, bytes) else "deleted"
            target.write(
                (msgspec.json.encode({"error": reason}).decode() if as_json else f"-\t{reason}") + "\n"
            )
    target.flush()


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


def _answer(label: Label, *, as_json: bool) -> str:
    if as_json:
        fields = {name: getattr(label, name) for name in ("id", "label", "score", "scores", "neutral")}
        return msgspec.json.encode(fields).decode()
    return f"{label.label}\t{label.score:.3f}"
