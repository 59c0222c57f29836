"""Gold labels by the id of their post: of a file, or of a topic such as `emotion-corrections`."""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import msgspec

from worker.clock import SystemClock
from worker.errors import ConfigurationError
from worker.replay.history.bounds import Bound
from worker.replay.history.ranges import find_ranges
from worker.replay.history.reader import RangeReader
from worker.settings import KafkaSettings
from worker.types import LABELS, Record

TOPIC = "topic:"

_NAME = 40
"""Characters of a stranger's name that are shown."""
_SHOWN = 20
"""Problems of a file that are listed one by one."""
_COLUMNS = ("id", "label")


class GoldRow(msgspec.Struct, frozen=True):
    """What is read of a line or a message; other fields are ignored."""

    id: str | int
    label: str


class Listed(msgspec.Struct, frozen=True):
    """Something that was left out: where it stands, and why."""

    where: str
    why: str


class Gold(msgspec.Struct, frozen=True):
    """Gold labels."""

    given: str
    """As on the command line."""
    labels: dict[str, str]
    """By the id of the post, as text."""
    rows: int
    """Read."""
    repeated: int = 0
    """Further rows of an id with the same label."""
    conflicting: int = 0
    """Ids with several labels: left out."""
    left_out: list[Listed] = []
    """Of a topic: messages that are no gold label, ids with several labels."""


class _Row(NamedTuple):
    where: str
    id: str
    label: str


def read_gold(given: str, kafka: KafkaSettings, names: Mapping[str, str]) -> Gold:
    """The gold labels that `--gold` names.

    What is wrong with a file is an error, because a file can be mended. What is wrong with a topic's messages
    is left out and listed.

    Args:
        given: A file (.jsonl with `id` and `label`; .csv or .tsv with such columns), or `topic:NAME`.
        kafka: Where the topic is.
        names: What labels are called there, by what they are called here: `--rename happiness=joy`.

    Raises:
        ConfigurationError: the file cannot be used, listing what is wrong; or nothing usable is there.
        DependencyError: Kafka cannot be reached.
    """
    unknown = sorted(set(names.values()) - set(LABELS))
    if unknown:
        raise ConfigurationError([f"--rename to {name}: no such label; {_known()}" for name in unknown])
    if given.startswith(TOPIC):
        return _from_topic(given, kafka, names)
    return _from_file(given, Path(given), names)


def _from_file(given: str, file: Path, names: Mapping[str, str]) -> Gold:
    problems: list[str] = []
    rows = list(_file_rows(file, problems))
    kept, unknown = _renamed(rows, names)
    problems += _strangers(unknown)
    labels: dict[str, str] = {}
    first: dict[str, str] = {}
    for row in kept:
        before = labels.setdefault(row.id, row.label)
        if before != row.label:
            problems.append(f"{row.where}: id {row.id} is {row.label}, but {before} in {first[row.id]}")
        first.setdefault(row.id, row.where)
    if problems:
        more = len(problems) - _SHOWN
        raise ConfigurationError(problems[:_SHOWN] + ([f"... and {more} more"] if more > 0 else []))
    if not labels:
        raise ConfigurationError([f"--gold {given}: no gold label in it"])
    return Gold(given, labels, len(rows), repeated=len(rows) - len(labels))


def _from_topic(given: str, kafka: KafkaSettings, names: Mapping[str, str]) -> Gold:
    topic = given.removeprefix(TOPIC)
    left_out: list[Listed] = []
    rows = sorted(_topic_rows(topic, kafka, left_out), key=lambda row: _place(row.where))
    messages = len(rows) + len(left_out)
    kept, unknown = _renamed(rows, names)
    left_out += [Listed(row.where, f"unknown label {row.label[:_NAME]!r}") for row in unknown]
    called: dict[str, set[str]] = {}
    for row in kept:
        called.setdefault(row.id, set()).add(row.label)
    torn = {row.id: row.where for row in kept if len(called[row.id]) > 1}
    left_out += [
        Listed(where, f"id {post_id} has several labels: {', '.join(sorted(called[post_id]))}")
        for post_id, where in torn.items()
    ]
    labels = {post_id: one for post_id, (one, *others) in called.items() if not others}
    if not labels:
        raise ConfigurationError(
            [
                f"--gold {given}: none of its {messages} messages is a usable gold label",
                *_strangers(unknown),
                *(f"{one.where}: {one.why}" for one in left_out[:3]),
            ]
        )
    repeated = sum(row.id in labels for row in kept) - len(labels)
    left_out.sort(key=lambda one: _place(one.where))
    return Gold(given, labels, messages, repeated, len(torn), left_out)


def _place(where: str) -> tuple[int, ...]:
    """Partition and offset: partitions are read side by side, but a report is the same each time."""
    return tuple(map(int, where.rsplit("/", 2)[1:]))


def _renamed(rows: Iterable[_Row], names: Mapping[str, str]) -> tuple[list[_Row], list[_Row]]:
    """Rows with the labels' names of here, and those whose label is unknown."""
    kept, unknown = [], []
    for row in rows:
        label = names.get(row.label, row.label)
        if label in LABELS:
            kept.append(row._replace(label=label))
        else:
            unknown.append(row)
    return kept, unknown


def _strangers(unknown: Iterable[_Row]) -> list[str]:
    """A line for each unknown name, not for each row that has it."""
    rows = list(unknown)
    first = {row.label: row.where for row in reversed(rows)}
    return [
        f"unknown label {name!r} ({n} times, first in {first[name]}); {_known()};"
        f" if it is one of them: --rename {name}=LABEL"
        for name, n in Counter(row.label for row in rows).items()
    ]


def _known() -> str:
    return f"known are {', '.join(LABELS)}"


def _file_rows(file: Path, problems: list[str]) -> Iterator[_Row]:
    readers = {".jsonl": _jsonl, ".csv": _csv, ".tsv": _csv}
    if file.suffix not in readers:
        raise ConfigurationError(
            [f"--gold {file}: name a .jsonl, .csv or .tsv file with id and label, or {TOPIC}NAME"]
        )
    try:
        text = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError([f"--gold {file}: cannot be read as UTF-8 text: {error}"]) from error
    yield from readers[file.suffix](file, text, problems)


def _jsonl(file: Path, text: str, problems: list[str]) -> Iterator[_Row]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        where = f"{file.name}:{number}"
        try:
            row = msgspec.json.decode(line, type=GoldRow)
        except msgspec.MsgspecError as error:
            problems.append(f"{where}: {error}")
        else:
            yield _Row(where, str(row.id), row.label.strip())


def _csv(file: Path, text: str, problems: list[str]) -> Iterator[_Row]:
    rows = csv.DictReader(io.StringIO(text), delimiter="\t" if file.suffix == ".tsv" else ",")
    absent = [name for name in _COLUMNS if name not in (rows.fieldnames or ())]
    if absent:
        raise ConfigurationError([f"--gold {file}: its first line names no column {' and no '.join(absent)}"])
    for row in rows:
        where = f"{file.name}:{rows.line_num}"
        post_id, label = (row[name] for name in _COLUMNS)
        if not post_id or not label:
            problems.append(f"{where}: no {'id' if not post_id else 'label'}")
        else:
            yield _Row(where, post_id, label.strip())


def _topic_rows(topic: str, kafka: KafkaSettings, left_out: list[Listed]) -> Iterator[_Row]:
    found = find_ranges(kafka, topic, Bound("beginning"), Bound("end"))
    reader = RangeReader(kafka, topic, found.ranges, SystemClock())
    try:
        for read in reader:
            for record in read.records:
                row = _message(record, left_out)
                if row is not None:
                    yield row
    finally:
        reader.close()


def _message(record: Record, left_out: list[Listed]) -> _Row | None:
    where = f"{record.topic}/{record.partition}/{record.offset}"
    if record.value is None:  # A compacted topic forgets a key.
        return None
    try:
        row = msgspec.json.decode(record.value, type=GoldRow)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        kind = "no id and label" if isinstance(error, msgspec.ValidationError) else "not JSON"
        left_out.append(Listed(where, kind))
        return None
    return _Row(where, str(row.id), row.label.strip())
