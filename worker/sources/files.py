"""Files and standard input as feeds: JSON lines, CSV, TSV or plain text, gzipped or not."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import BinaryIO, cast

from worker.errors import ConfigurationError
from worker.sources.edges import Item
from worker.sources.lines import Format, from_lines, from_rows

_HEAD = 64 * 1024
_GZIP = b"\x1f\x8b"
_BY_ENDING: Mapping[str, Format] = {
    ".jsonl": "jsonl", ".ndjson": "jsonl", ".json": "jsonl", ".csv": "csv", ".tsv": "tsv", ".txt": "text",
}  # fmt: skip


class FileFeed:
    """One file. Its cursor counts its lines (or rows), those that are passed over included.

    Its name is that of the file and a digest of how it begins (64 KiB), so that another file of the same name
    begins anew.
    """

    def __init__(
        self,
        path: Path,
        kind: Format | None,
        columns: Mapping[str, str],
        *,
        progress: Callable[[int, int], None] = lambda done, of: None,
    ) -> None:
        """`progress`: told bytes of the file, as it lies there, and how many it has.

        Raises:
            ConfigurationError: it cannot be opened.
        """
        self._path = path
        self._kind = kind or _kind_of(path)
        self._columns = columns
        self._progress = progress
        try:
            with path.open("rb") as file:
                head = file.read(_HEAD)
                self._size = path.stat().st_size
        except OSError as error:
            raise ConfigurationError([f"{path}: {error.strerror}"]) from None
        self._zipped = head.startswith(_GZIP)
        digest = hashlib.blake2b(head, digest_size=6).hexdigest()
        self.name = f"{re.sub(r'[^A-Za-z0-9._-]', '_', path.name)[:100]}-{digest}"

    def items(self, cursor: int | None) -> Generator[Item | None]:
        with ExitStack() as closing:
            raw = closing.enter_context(self._path.open("rb"))
            opened = closing.enter_context(gzip.open(raw)) if self._zipped else raw
            try:
                for item in _read(
                    cast("BinaryIO", opened), self._kind, cursor or 0, self.name, self._columns
                ):
                    self._progress(raw.tell(), self._size)
                    yield item
            except (EOFError, gzip.BadGzipFile) as error:
                raise ConfigurationError([f"{self._path}: {error}: what came before it was sent"]) from error


class StreamFeed:
    """What comes from a pipe. It cannot be read twice, so it has no cursor."""

    def __init__(self, stream: BinaryIO, name: str, kind: Format, columns: Mapping[str, str]) -> None:
        self._stream = stream
        self._kind = kind
        self._columns = columns
        self.name = name

    def items(self, cursor: int | None) -> Generator[Item | None]:
        yield from _read(self._stream, self._kind, None, self.name, self._columns)


def _kind_of(path: Path) -> Format:
    ending = Path(path.stem).suffix if path.suffix == ".gz" else path.suffix
    kind = _BY_ENDING.get(ending.lower())
    if kind is None:
        raise ConfigurationError(
            [f"{path.name}: what it holds is not known: --format jsonl, csv, tsv or text"]
        )
    return kind


def _read(
    stream: BinaryIO, kind: Format, cursor: int | None, name: str, columns: Mapping[str, str]
) -> Iterator[Item]:
    if kind in ("csv", "tsv"):
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        return from_rows(text, kind, cursor=cursor, name=name, columns=columns)
    return from_lines(iter(stream.readline, b""), cursor=cursor, name=name, text=kind == "text")
