"""From text to token ids, by whichever tokenizer the artefact brings.

Two kinds are known:

    words.py   BERT and DistilBERT: WordPiece, with the ids of words remembered
    whole.py   RoBERTa: byte-level BPE, which looks across white space, so texts are cut as a whole
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from tokenizers import Tokenizer

from worker.errors import ArtifactError
from worker.model.whole import WholeTokeniser
from worker.model.words import WordTokeniser, remembers_words


class Tokeniser(Protocol):
    """Cuts texts into ids. Not for several threads at once."""

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, with a special one at each end, at most `max_length` of them.

        Equal to Hugging Face's `encode(text).ids` for every string.
        """
        ...

    def was_cut(self, row: Sequence[int]) -> bool:
        """Whether a row of `encode` fills `max_length`: (almost always) the text was longer."""
        ...


def open_tokeniser(path: Path, max_length: int, change: Callable[[str], str] | None = None) -> Tokeniser:
    """The tokenizer of a model folder.

    Args:
        path: A `tokenizer.json` of Hugging Face's `tokenizers`.
        max_length: Most ids of a text, those of both ends included.
        change: What becomes of each word (what stands between white space) before it is cut: one word,
            several with a space between them, or none.

    Raises:
        ArtifactError: The file is no tokenizer, or one of a kind that this release does not know.
    """
    try:
        reference = Tokenizer.from_file(str(path))
    except Exception as error:  # `tokenizers` raises nothing more precise.
        raise ArtifactError(path.parent, [f"{path.name} is no tokenizer: {error}"]) from error
    reference.no_truncation()
    reference.no_padding()
    parts = json.loads(reference.to_str())
    problems = _problems(parts, reference)
    if problems:
        raise ArtifactError(path.parent, [f"{path.name} {problem}" for problem in problems])
    if remembers_words(parts):
        return WordTokeniser(reference, max_length, change=change)
    return WholeTokeniser(reference, max_length, change)


def _problems(parts: Mapping[str, Any], reference: Tokenizer) -> list[str]:
    """Why a tokenizer cannot be used."""
    problems = []
    model = parts["model"]["type"]
    if model != "WordPiece" and not (model == "BPE" and _is_byte_level(parts["pre_tokenizer"])):
        problems.append(
            f"is a {model} tokenizer of another kind: known are WordPiece (BERT, DistilBERT) and byte-level"
            " BPE (RoBERTa)"
        )
    ends = len(reference.encode("").ids)
    if ends != 2:
        problems.append(
            f"puts {ends} special tokens around a text and should put two, such as [CLS] and [SEP] or <s>"
            " and </s>: it has no fitting post_processor"
        )
    return problems


def _is_byte_level(splitter: Mapping[str, Any] | None) -> bool:
    """Whether a pre-tokenizer, or the last of a sequence of them, turns bytes into characters."""
    if splitter is None:
        return False
    if splitter["type"] == "Sequence":
        return _is_byte_level(next(reversed(splitter["pretokenizers"]), None))
    return bool(splitter["type"] == "ByteLevel")
