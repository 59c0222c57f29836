"""Lines and rows of files as items. Pure."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

import msgspec

from worker.errors import BadRecordError, ConfigurationError
from worker.sources.edges import Item
from worker.stream.decode import decode, written_at
from worker.types import Post, Record

Format = Literal["jsonl", "csv", "tsv", "text"]
FORMATS: tuple[Format, ...] = get_args(Format)
_COLUMNS = tuple(field.name for field in msgspec.structs.fields(Post))
_DELIMITERS = {"csv": ",", "tsv": "\t"}


def item_of(value: bytes, cursor: int | None) -> Item:
    """A value as it is, with the key, the time and the verdict of how a worker will read it."""
    try:
        what = decode(Record("", 0, 0, None, value, -1))
        if isinstance(what, Post):
            at = (
                None
                if what.created_at is None
                else written_at(what, Record("", 0, 0, None, value, 0)).timestamp()
            )
            key = what.id if what.author_id is None else what.author_id
            return Item(value, str(key).encode(errors="replace"), cursor, at)
    except BadRecordError:
        return Item(value, None, cursor, readable=False)
    return Item(value, what.key, cursor)


def from_lines(lines: Iterator[bytes], *, cursor: int | None, name: str, text: bool) -> Iterator[Item]:
    """JSON objects, one a line, as they are; with `text` a post a line. Empty lines are passed over.

    Args:
        lines: With their ends.
        cursor: Lines that were sent before; None: no cursors are given.
        name: What ids of plain text begin with.
        text: Whether lines are text.
    """
    for number, line in enumerate(lines, start=1):
        if cursor is not None and number <= cursor:
            continue
        value = line.strip()
        if not value:
            continue
        if text:
            post = {"id": f"{name}:{number}", "text": value.decode(errors="replace")}
            value = msgspec.json.encode(post)
        yield item_of(value, None if cursor is None else number)


def from_rows(
    lines: Iterator[str], kind: Format, *, cursor: int | None, name: str, columns: Mapping[str, str]
) -> Iterator[Item]:
    """Rows of a table with a header: columns called as the fields of a post, or as `columns` says.

    Args:
        lines: The file's, decoded.
        kind: `csv` or `tsv`.
        cursor: Rows that were sent before; None: no cursors are given.
        name: What ids begin with where there is no column of ids.
        columns: Field of a post -> the table's name for it.

    Raises:
        ConfigurationError: there is no column with the text, or one that was named is not there.
    """
    csv.field_size_limit(64 * 1024 * 1024)
    table = csv.DictReader(lines, delimiter=_DELIMITERS[kind])
    given = {field: columns.get(field, field) for field in _COLUMNS}
    there = list(table.fieldnames or ())
    problems = [
        f"there is no column {theirs!r} for {field}"
        for field, theirs in columns.items()
        if theirs not in there
    ]
    if given["text"] not in there and "text" not in columns:
        problems.append("there is no column text: --column text=NAME says which it is")
    if problems:
        raise ConfigurationError(
            [f"{problem}; there are: {', '.join(there) or 'none'}" for problem in problems]
        )
    for number, row in enumerate(table, start=1):
        if cursor is not None and number <= cursor:
            continue
        post: dict[str, Any] = {field: row[column] for field, column in given.items() if row.get(column)}
        post.setdefault("id", f"{name}:{number}")
        post.setdefault("text", "")
        if (created := _number(post.get("created_at"))) is not None:
            post["created_at"] = created
        yield item_of(msgspec.json.encode(post), None if cursor is None else number)


def _number(told: str | None) -> float | None:
    """Seconds or milliseconds since the epoch, where it is a number."""
    try:
        return None if told is None else float(told)
    except ValueError:
        return None
