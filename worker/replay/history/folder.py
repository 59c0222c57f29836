"""The report folder while a replay is under way: which question it answers, and what is done of it.

    replay.json      the question, and the ranges that it meant when it was first asked
    parts/*.parquet  finished parts; each is renamed into place when it is whole
    .lock            held by the process at work

A process that is killed leaves whole parts and perhaps one unfinished file, which is written anew.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from worker.errors import ConfigurationError
from worker.replay.history.contest import Entrant
from worker.replay.history.parts import Part, cut
from worker.replay.history.ranges import Range

_STATE = "replay.json"
_PARTS = "parts"
_LOCK = ".lock"
_MADE = (_STATE, _PARTS, _LOCK, "predictions.parquet", "report.json", "report.html")
_NOTE = b"moodstream"


class Question(msgspec.Struct, frozen=True):
    """All that decides what the predictions are. Gold and earlier labels do not: they are only compared."""

    topic: str
    start: str
    """As given: `-1h` means the hour before the replay was first begun."""
    end: str
    partitions: list[int]
    sample: str
    models: list[Entrant]
    max_records: int
    max_tokens: int
    text: str
    """Whether predictions carry the posts' texts (`worker.label_text`)."""
    version: str
    """Of moodstream."""


class State(msgspec.Struct, frozen=True):
    """`replay.json`."""

    question: Question
    topic_id: str
    ranges: list[Range]
    share: float
    """Of the posts, that the sample keeps."""
    stride: int
    """Offsets of a part."""
    began: datetime
    complete: bool = False
    """Whether predictions.parquet holds everything and the parts are gone."""


class Cost(msgspec.Struct, frozen=True):
    """What a part took, in seconds; kept with it, so that a replay in several runs is measured too."""

    whole: float
    models: dict[str, float]
    """By the contestant's letter."""


class Folder:
    """A report folder that this process alone works in."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def predictions(self) -> Path:
        """Every record with its answers."""
        return self.path / "predictions.parquet"

    def resume(self, question: Question) -> State | None:
        """What was begun here; None in an empty folder.

        Raises:
            ConfigurationError: it is about another question, or the folder holds something else.
        """
        file = self.path / _STATE
        if not file.exists():
            foreign = sorted(one.name for one in self.path.iterdir() if one.name not in _MADE)
            if foreign:
                raise ConfigurationError(
                    [f"--report {self.path} holds other files ({', '.join(foreign[:3])}): name an empty one"]
                )
            return None
        try:
            state = msgspec.json.decode(file.read_bytes(), type=State)
        except msgspec.MsgspecError as error:
            raise ConfigurationError([f"{file} cannot be read ({error}); {self.anew}"]) from error
        differences = list(_differences(state.question, question))
        if differences:
            raise ConfigurationError(
                [f"--report {self.path} holds the replay of another question:", *differences, self.anew]
            )
        return state

    def begin(self, state: State) -> None:
        """Note the question, and that nothing is done."""
        (self.path / _PARTS).mkdir(exist_ok=True)
        self._note(state)

    def complete(self, state: State) -> State:
        """Note that predictions.parquet holds everything; the parts go."""
        done = msgspec.structs.replace(state, complete=True)
        self._note(done)
        for file in (self.path / _PARTS).glob("*"):
            file.unlink()
        (self.path / _PARTS).rmdir()
        return done

    def parts(self, state: State) -> list[Part]:
        """All parts of the replay, done or not, by partition and offset."""
        return cut(state.ranges, state.stride)

    def is_done(self, part: Part) -> bool:
        """Whether a part is whole."""
        return self._file(part).exists()

    def write(self, part: Part, rows: pa.Table, cost: Cost) -> None:
        """Keep a part, all of it or nothing."""
        file = self._file(part)
        unfinished = file.with_suffix(".unfinished")
        noted = rows.replace_schema_metadata({_NOTE: msgspec.json.encode(cost)})
        pq.write_table(noted, unfinished, compression="zstd")
        _into_place(unfinished, file)

    def read(self, part: Part) -> tuple[pa.Table, Cost]:
        """A part's rows, and what it took."""
        rows = pq.read_table(self._file(part))
        cost = msgspec.json.decode(rows.schema.metadata[_NOTE], type=Cost)
        return rows.replace_schema_metadata(None), cost

    def put(self, name: str, content: bytes) -> Path:
        """Write one of the report's files, all of it or nothing."""
        unfinished = self.path / f"{name}.unfinished"
        unfinished.write_bytes(content)
        _into_place(unfinished, self.path / name)
        return self.path / name

    def _file(self, part: Part) -> Path:
        return self.path / _PARTS / f"{part.name}.parquet"

    def _note(self, state: State) -> None:
        self.put(_STATE, msgspec.json.format(msgspec.json.encode(state), indent=2) + b"\n")

    @property
    def anew(self) -> str:
        """How to answer another question."""
        return f"to start anew: rm -r {self.path}, or name another folder with --report"


@contextmanager
def held(path: Path) -> Iterator[Folder]:
    """The folder, made where it is not there, for this process alone.

    Raises:
        ConfigurationError: it cannot be made, or another process is at work in it.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        lock = (path / _LOCK).open("w")
    except OSError as error:
        raise ConfigurationError([f"--report {path}: cannot be used: {error.strerror}"]) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise ConfigurationError([f"--report {path}: another replay is at work in it"]) from error
        yield Folder(path)


def _into_place(unfinished: Path, file: Path) -> None:
    """Rename; on the disk before its name is, so that a machine that stops leaves no half file."""
    with unfinished.open("rb") as written:
        os.fsync(written.fileno())
    unfinished.replace(file)


def _differences(before: Question, now: Question) -> Iterator[str]:
    """A line for each thing that is asked differently."""
    for name, was, asked in zip(
        (field.name for field in msgspec.structs.fields(Question)),
        msgspec.structs.astuple(before),
        msgspec.structs.astuple(now),
        strict=True,
    ):
        if was != asked:
            yield f"  {name} was {_said(was)}, now it is {_said(asked)}"


def _said(value: object) -> str:
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_said, value)) or "all"
    if isinstance(value, Entrant):
        return f"{value.name} ({value.manifest_sha256[:8]}, gate {value.gate})"
    return str(value)
