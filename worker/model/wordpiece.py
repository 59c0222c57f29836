"""WordPiece for plain words, where Hugging Face's tokenizer costs more to call than the word to cut.

Calling `tokenizers` for a new word takes about 15 us, most of it for making its answer; cutting a plain word
here takes 2 to 4 us. Plain means: printable ASCII and general punctuation, with nothing in it that could be
a special token. Whatever else there is (accents, Chinese, emoji, control characters) is not for this file.

The algorithm is BERT's: split at punctuation, then the longest piece of the vocabulary from the left
(Wu et al. 2016, "Google's Neural Machine Translation System", section 4.1).
"""

from __future__ import annotations

import json
import re
import unicodedata
from typing import Any

from tokenizers import Tokenizer

_GENERAL_PUNCTUATION = "".join(
    character for character in map(chr, range(0x2010, 0x205F)) if unicodedata.category(character)[0] == "P"
)
"""Quotes, dashes and dots that phones type: each is a token of its own, and no normalisation changes it."""

_PLAIN = re.compile(rf"[!-Z\\-~{_GENERAL_PUNCTUATION}]+")
"""Printable ASCII without the opening bracket, which special tokens begin with, and the punctuation above."""

_PIECES = re.compile(r"[A-Za-z0-9]+|[^A-Za-z0-9]")


class WordPiece:
    """Cuts plain words into ids; made by `wordpiece_of`."""

    def __init__(self, model: dict[str, Any], *, lower: bool) -> None:
        self._vocabulary: dict[str, int] = model["vocab"]
        self._continued: str = model["continuing_subword_prefix"]
        self._unknown = (self._vocabulary[model["unk_token"]],)
        self._longest_word: int = model["max_input_chars_per_word"]
        self._longest_piece = max(map(len, self._vocabulary))
        self._lower = lower

    def encode(self, word: str) -> tuple[int, ...] | None:
        """The ids of a word without white space; None where it is not plain."""
        if _PLAIN.fullmatch(word) is None:
            return None
        pieces = _PIECES.findall(word.lower() if self._lower else word)
        if len(pieces) == 1:
            return self._cut(pieces[0])
        return tuple(id_ for piece in pieces for id_ in self._cut(piece))

    def _cut(self, piece: str) -> tuple[int, ...]:
        """Longest match from the left; a piece that cannot be cut to its end is unknown as a whole."""
        whole = self._vocabulary.get(piece)
        if whole is not None:
            return (whole,)
        size = len(piece)
        if size > self._longest_word:
            return self._unknown
        ids = []
        start, prefix = 0, ""
        while start < size:
            end = min(size, start + self._longest_piece)
            while (found := self._vocabulary.get(prefix + piece[start:end])) is None:
                end -= 1
                if end == start:
                    return self._unknown
            ids.append(found)
            start, prefix = end, self._continued
        return tuple(ids)


def wordpiece_of(tokenizer: Tokenizer) -> WordPiece | None:
    """The same cutting for `tokenizer`; None where it is not BERT's, and this file knows nothing of it."""
    parts = json.loads(tokenizer.to_str())
    model, normalizer, splitter = parts["model"], parts["normalizer"] or {}, parts["pre_tokenizer"] or {}
    specials = [token["content"] for token in parts["added_tokens"]]
    known = (
        model["type"] == "WordPiece"
        and normalizer.get("type") == "BertNormalizer"
        and splitter.get("type") == "BertPreTokenizer"
        and all(special.startswith("[") for special in specials)
    )
    return WordPiece(model, lower=bool(normalizer["lowercase"])) if known else None
