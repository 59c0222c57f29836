"""Text to ids by Hugging Face's tokenizer alone, a batch at a time: RoBERTa's byte-level BPE.

There a word's ids depend on the white space before it, and white space has ids of its own, so words cannot
be remembered as BERT's can. `tokenizers` cuts the texts of a batch on all cores.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from tokenizers import Tokenizer


class WholeTokeniser:
    """Any tokenizer, without a cache.

    Args:
        reference: Of Hugging Face's `tokenizers`, not padding; from now on it cuts.
        max_length: Most ids of a text, the special ones at both ends included.
        change: What becomes of each word before the text is cut.
    """

    def __init__(
        self, reference: Tokenizer, max_length: int, change: Callable[[str], str] | None = None
    ) -> None:
        self._change = change
        self._reference = reference
        self._reference.enable_truncation(max_length)
        self._max_length = max_length

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """The ids of each text, such as <s> first and </s> last, cut to `max_length`."""
        if self._change is not None:
            texts = [" ".join(filter(None, map(self._change, text.split()))) for text in texts]
        encodings = self._reference.encode_batch_fast(list(texts))
        return [encoding.ids for encoding in encodings]

    def was_cut(self, row: Sequence[int]) -> bool:
        """Whether a row of `encode` fills `max_length`: (almost always) the text was longer."""
        return len(row) == self._max_length
