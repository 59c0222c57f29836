"""Text to word-piece ids, at the speed of a dictionary look-up: BERT and DistilBERT.

BERT's tokenisation never looks across white space: cleaning, lower-casing, accent stripping, splitting at
punctuation and WordPiece all work inside one white-space word. So the ids of a word can be remembered, and
a text's ids are its words' ids in a row, at 5-9 us a post instead of 50-90. New words are cut by `wordpiece`
where they are plain; all others of a batch go to Hugging Face's tokenizer at once.

One trap: Python's `str.split` splits at seven control characters that BERT's cleaner deletes
(U+000B, U+000C, U+001C-U+001F, U+0085), gluing the words together. They are deleted first.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, filterfalse
from typing import Any

from tokenizers import Tokenizer

from worker.model.recent import Recent
from worker.model.wordpiece import wordpiece_of

_GLUE = dict.fromkeys((0x0B, 0x0C, 0x1C, 0x1D, 0x1E, 0x1F, 0x85))
_GLUE_CHARACTERS = frozenset(map(chr, _GLUE))
_LONGEST_CACHED_WORD = 64
"""Characters, and ids. Longer ones are noise that will not come again; not keeping them bounds memory."""


def _words(text: str) -> list[str]:
    """The white-space words of a text. What is printable holds none of the characters that glue."""
    if not text.isprintable() and not _GLUE_CHARACTERS.isdisjoint(text):
        text = text.translate(_GLUE)
    return text.split()


def remembers_words(parts: Mapping[str, Any]) -> bool:
    """Whether a tokenizer (`tokenizer.json`, parsed) is of the kind whose words can be cut one by one.

    It must clean and split as BERT does, and add no token of its own that holds white space.
    """
    normalizer, splitter = parts["normalizer"] or {}, parts["pre_tokenizer"] or {}
    return (
        parts["model"]["type"] == "WordPiece"
        and normalizer.get("type") == "BertNormalizer"
        and bool(normalizer.get("clean_text"))
        and splitter.get("type") == "BertPreTokenizer"
        and not any(re.search(r"\s", token["content"]) for token in parts["added_tokens"])
    )


class WordTokeniser:
    """A WordPiece tokenizer with a word cache; not for several threads at once.

    Args:
        reference: Of Hugging Face's `tokenizers`, of the kind that `remembers_words` allows; neither cutting
            nor padding.
        max_length: Most ids of a text, [CLS] and [SEP] included.
        capacity: Most words remembered: at the default about 60 MB when full.
        change: What becomes of each word before it is cut: one word, several with a space between them, or
            none.
    """

    def __init__(
        self,
        reference: Tokenizer,
        max_length: int,
        capacity: int = 200_000,
        change: Callable[[str], str] | None = None,
    ) -> None:
        self._change = change
        self._reference = reference
        self._wordpiece = wordpiece_of(reference)
        self._cache: Recent[tuple[int, ...]] = Recent(capacity)
        self._cls, self._sep = reference.encode("").ids
        self._room = max_length - 2

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, [CLS] first and [SEP] last, cut to `max_length`.

        Equal to the reference tokenizer's `encode(text).ids` for every string (of changed words).
        """
        split = [_words(text) for text in texts]
        rows: list[list[int]] = []
        late: list[int] = []
        unknown: set[str] = set()
        known = self._cache.young.__getitem__
        for words in split:
            try:
                rows.append(self._row(map(known, words)))
            except KeyError:  # some word is new: learn those of all texts at once, then come back
                late.append(len(rows))
                rows.append([])
                unknown.update(filterfalse(self._cache.young.__contains__, words))
        if late:
            long_words = self._learn(unknown)
            for index in late:
                rows[index] = self._row(map(known, split[index]))
            for word in long_words:
                del self._cache.young[word]
            self._cache.age()
        return rows

    def _row(self, ids: Iterable[tuple[int, ...]]) -> list[int]:
        """[CLS], the ids of the words, cut where there is no more room, and [SEP]."""
        row = [self._cls]
        row.extend(chain.from_iterable(ids))
        if len(row) > self._room + 1:
            del row[self._room + 1 :]
        row.append(self._sep)
        return row

    def _learn(self, words: set[str]) -> list[str]:
        """Put all of `words` into the young generation; return those that must leave it again."""
        unknown = self._cache.promote(words)
        if not unknown:
            return []
        read = {word: word if self._change is None else self._change(word) for word in unknown}
        if self._wordpiece is not None:
            cut = {word: self._plain(changed) for word, changed in read.items()}
            self._cache.young.update((word, ids) for word, ids in cut.items() if ids is not None)
            read = {word: read[word] for word, ids in cut.items() if ids is None}
        encodings = self._reference.encode_batch_fast(list(read.values()), add_special_tokens=False)
        self._cache.young.update(
            (word, tuple(encoding.ids)) for word, encoding in zip(read, encodings, strict=True)
        )
        return [word for word in unknown if not self._worth_keeping(word)]

    def _plain(self, changed: str) -> tuple[int, ...] | None:
        """The ids of a changed word without the reference's help; None where a part of it is not plain."""
        assert self._wordpiece is not None  # noqa: S101
        if " " not in changed:
            return self._wordpiece.encode(changed)
        ids: list[int] = []
        for part in changed.split(" "):
            found = self._wordpiece.encode(part)
            if found is None:
                return None
            ids += found
        return tuple(ids)

    def _worth_keeping(self, word: str) -> bool:
        return len(word) <= _LONGEST_CACHED_WORD and len(self._cache.young[word]) <= _LONGEST_CACHED_WORD

    def was_cut(self, row: Sequence[int]) -> bool:
        """Whether a row of `encode` fills `max_length`: (almost always) the text was longer."""
        return len(row) == self._room + 2
