"""What texts hold: their tokens as numbers, where these have one, so that each is looked up once.

Most texts are cut in C; those with links, emoji and other scripts are left to `worker.trends.text`, which
says what a token is.
"""

from __future__ import annotations

import ctypes
import weakref
from collections.abc import Callable, Sequence
from itertools import pairwise
from threading import Lock
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from worker.trends.native.library import library
from worker.trends.terms import MOST_TERMS, is_term, terms_of
from worker.trends.text import plain, tokens

MOST = 100_000
"""Tokens that have a number: they are what strangers write. A full vocabulary is emptied: in a stream whose
words have a Zipf distribution the common ones are back at once."""
_LONGEST = 40
"""Characters of a token; as words.c has it."""


class Words(NamedTuple):
    """The tokens that have numbers, by number. It only grows; an emptied vocabulary begins another one."""

    tokens: list[str]
    are_terms: NDArray[np.bool_]
    """(MOST,)"""

    @classmethod
    def none(cls) -> Words:
        """No token yet."""
        return cls([], np.zeros(MOST, np.bool_))


class Scanned(NamedTuple):
    """Some texts."""

    words: Words
    numbers: NDArray[np.int32]
    """(k,) the different tokens of each text, in the order in which they first come; text after text."""
    bounds: NDArray[np.int64]
    """(n + 1,) where the numbers of each text begin and end."""
    cut: Sequence[list[str] | None]
    """All tokens of the texts that are left to Python, which have no numbers; None of the others."""
    rows: str
    row_bounds: Sequence[int]

    def plain(self, text: int) -> str:
        """The tokens of a text as `worker.trends.text.plain` has them."""
        found = self.cut[text]
        return self.rows[self.row_bounds[text] : self.row_bounds[text + 1]] if found is None else plain(found)

    def terms(self) -> list[tuple[str, ...]]:
        """What each text contributes, as `worker.trends.terms.terms_of` says."""
        chosen, bounds = self.chosen(self.words.are_terms)
        names = [self.words.tokens[number] for number in chosen.tolist()]
        return [
            tuple(names[start : min(end, start + MOST_TERMS)]) if found is None else terms_of(found)
            for (start, end), found in zip(pairwise(bounds.tolist()), self.cut, strict=True)
        ]

    def chosen(self, wanted: NDArray[np.bool_]) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
        """Those of `numbers` that are wanted, and their bounds. `wanted`: (MOST,) by number."""
        kept = wanted[self.numbers]
        before = np.zeros(len(kept) + 1, np.int64)
        np.cumsum(kept, out=before[1:])
        return self.numbers[kept], before[self.bounds]


class Vocabulary:
    """Gives tokens their numbers. Threads may share it."""

    def __init__(self, most: int = MOST) -> None:
        """`most`: tokens that have a number."""
        self._most = most
        self._lock = Lock()
        self._words = Words.none()
        self._table: int | None = None
        self._close: Callable[[], object] = lambda: None

    def scan(self, texts: Sequence[str]) -> Scanned:
        """Cut texts into tokens."""
        loaded = library()
        if loaded is None:
            return left_to_python([tokens(text) for text in texts])
        with self._lock:
            for _ in range(2):  # the second time with an empty table, where it was full
                if self._table is None:
                    self._open(loaded)
                scanned = self._scan(loaded, texts)
                if scanned is not None:
                    return scanned
                self._close()
                self._table = None
        return left_to_python([tokens(text) for text in texts])  # more at once than it holds

    def _open(self, loaded: ctypes.CDLL) -> None:
        table = loaded.moodstream_words_open(self._most)
        if table is None:
            raise MemoryError
        self._table, self._words = table, Words.none()
        self._close = weakref.finalize(self, loaded.moodstream_words_close, table)

    def _scan(self, loaded: ctypes.CDLL, texts: Sequence[str]) -> Scanned | None:
        """None where the table is full."""
        encoded = [text.encode(errors="surrogatepass") for text in texts]
        letters, n = b"".join(encoded), len(encoded)
        ends = np.cumsum(np.fromiter(map(len, encoded), np.int64, n))
        numbers = np.empty(len(letters), np.int32)
        counts, row_ends = np.empty(n, np.int64), np.empty(n, np.int64)
        rows = np.empty(len(letters) + 2 * n, np.uint8)
        known = loaded.moodstream_words_scan(
            self._table, letters, ends.ctypes.data, n, numbers.ctypes.data, counts.ctypes.data,
            rows.ctypes.data, row_ends.ctypes.data,
        )  # fmt: skip
        if known < 0:
            return None
        self._learn(loaded, known)
        cut: list[list[str] | None] = [None] * n
        left = np.flatnonzero(counts < 0)
        for place in left.tolist():
            cut[place] = tokens(texts[place])
        counts[left] = 0
        bounds = np.concatenate([[0], np.cumsum(counts)])
        row_bounds = [0, *row_ends.tolist()]
        row = rows[: row_bounds[-1]].tobytes().decode("ascii")
        return Scanned(self._words, numbers[: bounds[-1]], bounds, cut, row, row_bounds)

    def _learn(self, loaded: ctypes.CDLL, known: int) -> None:
        """Of the tokens that are new, their letters, and whether they are terms."""
        first = len(self._words.tokens)
        if known == first:
            return
        letters, ends = np.empty((known - first) * _LONGEST, np.uint8), np.empty(known - first, np.int64)
        loaded.moodstream_words_tokens(self._table, first, letters.ctypes.data, ends.ctypes.data)
        text = letters[: ends[-1]].tobytes().decode("ascii")
        new = [text[start:end] for start, end in pairwise([0, *ends.tolist()])]
        self._words.tokens.extend(new)
        self._words.are_terms[first:known] = [is_term(token) for token in new]


def left_to_python(cut: Sequence[list[str]]) -> Scanned:
    """Texts of which no token has a number. `cut`: their tokens."""
    nothing = np.zeros(len(cut) + 1, np.int64)
    return Scanned(_NONE, np.zeros(0, np.int32), nothing, cut, "", nothing.tolist())


_NONE = Words.none()
