"""predictions.parquet as arrays, for what is computed from it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from worker.replay.classes import over_classes
from worker.replay.history.table import TRUTH, answer_names
from worker.types import LABELS

NONE = -1
_UNKNOWN = "unknown"


@dataclass(frozen=True)
class Said:
    """What a contestant answers to the posts of `Data`."""

    label: NDArray[np.intp]
    """(n,) indices into `LABELS`; NONE where it gave no answer."""
    scores: NDArray[np.float64]
    """(n, 6) over `EMOTIONS`."""
    neutral: NDArray[np.float64]
    """(n,)"""

    @cached_property
    def answered(self) -> NDArray[np.bool_]:
        """(n,) whether it gave one."""
        given: NDArray[np.bool_] = self.label != NONE
        return given

    def over(self, rows: NDArray[np.bool_], classes: Sequence[str]) -> NDArray[np.float64]:
        """(rows, classes) probabilities of some rows that it answered; see `over_classes`."""
        return over_classes(self.scores[rows], self.neutral[rows], self.label[rows], classes)


@dataclass(frozen=True)
class Named:
    """A column of few different names."""

    names: list[str]
    code: NDArray[np.intp]
    """(n,) indices into `names`."""


class Data:
    """The posts of a replay: rows that are records but no posts are left out."""

    def __init__(self, file: Path, contestants: Iterable[str]) -> None:
        self._file = file
        self._contestants = list(contestants)
        self._posts = self._column("id").is_valid().to_numpy()
        self.n = int(self._posts.sum())

    def said(self, who: str) -> Said:
        """The answers of a contestant."""
        label, _, *numbers = answer_names(who)
        *scores, neutral = (self._floats(name) for name in numbers)
        return Said(self._label(label), np.column_stack(scores), neutral)

    @cached_property
    def truth(self) -> NDArray[np.intp]:
        """(n,) indices into `LABELS`; NONE where there is no gold label."""
        return self._label(TRUTH)

    @cached_property
    def seconds(self) -> NDArray[np.int64]:
        """(n,) when posts were written, in seconds since the epoch."""
        column = self._column("created_at").cast(pa.int64())
        micros: NDArray[np.int64] = column.fill_null(0).to_numpy()[self._posts]
        return micros // 1_000_000

    def named(self, name: str) -> Named:
        """A column of names."""
        column = self._column(name).fill_null(_UNKNOWN).combine_chunks().dictionary_encode()
        codes = column.indices.to_numpy().astype(np.intp)
        return Named([str(one) for one in column.dictionary.to_pylist()], codes[self._posts])

    def rows(self, indices: Sequence[int], names: Sequence[str]) -> list[dict[str, object]]:
        """Some columns of some posts."""
        there = np.flatnonzero(self._posts)[np.asarray(indices, dtype=np.intp)]
        found: list[dict[str, object]] = (
            pq.read_table(self._file, columns=list(names)).take(there).to_pylist()
        )
        return found

    def _label(self, name: str) -> NDArray[np.intp]:
        index = pc.index_in(self._column(name), value_set=pa.array(LABELS))
        codes: NDArray[np.intp] = np.asarray(index.fill_null(NONE).to_numpy(), dtype=np.intp)[self._posts]
        return codes

    def _floats(self, name: str) -> NDArray[np.float64]:
        numbers: NDArray[np.float64] = np.asarray(self._column(name).to_numpy())[self._posts]
        return numbers

    def _column(self, name: str) -> pa.ChunkedArray:
        return pq.read_table(self._file, columns=[name])[name]
