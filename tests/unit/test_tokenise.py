from __future__ import annotations

import random
import string
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from worker.model.bundled import bundled_model
from worker.model.tokenise import Tokeniser, WordCache
from worker.model.wordpiece import wordpiece_of

PATH = bundled_model() / "tokenizer.json"
MAX_LENGTH = 32

ODD = [
    *map(chr, range(0x00, 0x250)),
    *map(chr, range(0x300, 0x330)),
    *map(chr, range(0x2000, 0x2070)),
    *"\u3000\ufffd\u00ad\u200d\u4e2d\U0001f600\ue000\u0378\u1e9e\u0130\ufb01\uac00\u1100\u1161\u180e\ufeff",
    *" abcdefgh.,!?#@" * 20,
    *"’“”…–—‘†‽⁉ABCXYZ0123456789",
    "[SEP]",
    "[MASK]",
    "##ing",
    " ",
]


@pytest.fixture(scope="module")
def tokeniser() -> Tokeniser:
    return Tokeniser(PATH, MAX_LENGTH, capacity=500)


@pytest.fixture(scope="module")
def reference() -> Tokenizer:
    made = Tokenizer.from_file(str(PATH))
    made.no_padding()
    made.enable_truncation(MAX_LENGTH)
    return made


def test_ids_equal_the_reference_on_fuzzed_text(tokeniser: Tokeniser, reference: Tokenizer) -> None:
    rng = random.Random(7)
    texts = ["".join(rng.choices(ODD, k=rng.randint(0, 40))) for _ in range(20_000)]
    for start in range(0, len(texts), 256):
        part = texts[start : start + 256]
        assert tokeniser.encode(part) == [encoding.ids for encoding in reference.encode_batch(part)]


def test_ids_equal_the_reference_on_any_text(tokeniser: Tokeniser, reference: Tokenizer) -> None:
    @settings(max_examples=1000)
    @given(st.lists(st.text(), max_size=5))
    def check(texts: list[str]) -> None:
        assert tokeniser.encode(texts) == [encoding.ids for encoding in reference.encode_batch(texts)]

    check()


@pytest.mark.needs_data
def test_ids_equal_the_reference_on_real_posts(
    tokeniser: Tokeniser, reference: Tokenizer, data: Path
) -> None:
    texts = (data / "tweets" / "traffic.txt").read_text(encoding="utf-8").splitlines()
    for start in range(0, len(texts), 1024):
        part = texts[start : start + 1024]
        assert tokeniser.encode(part) == [encoding.ids for encoding in reference.encode_batch(part)]


def test_long_texts_are_cut_and_said_to_be(tokeniser: Tokeniser) -> None:
    short, long = tokeniser.encode(["happy", "happy " * 10_000])
    assert len(long) == MAX_LENGTH
    assert tokeniser.was_cut(long)
    assert not tokeniser.was_cut(short)
    assert (short[0], short[-1]) == (long[0], long[-1])


def test_the_cache_is_bounded_and_keeps_what_is_used() -> None:
    cache = WordCache(capacity=10)
    for index in range(100):
        if "often" not in cache.young:
            assert cache.promote(["often"]) == ([] if index else ["often"])
            cache.young["often"] = (1,)
        cache.young[f"once-{index}"] = (2,)
        cache.age()
        assert len(cache) <= 12


def test_a_long_word_is_not_kept(tokeniser: Tokeniser) -> None:
    word = "x" * 5000
    assert tokeniser.encode([word]) == tokeniser.encode([word])
    assert tokeniser._cache.promote([word]) == [word]


def test_plain_words_are_cut_as_the_reference_cuts_them(reference: Tokenizer) -> None:
    """Without the reference's help: nothing but the file that is under test."""
    cutting = wordpiece_of(reference)
    assert cutting is not None
    rng = random.Random(5)
    letters = string.ascii_letters * 4 + string.digits + string.punctuation + "’“”…–—"
    words = ["".join(rng.choices(letters, k=rng.randint(1, 14))) for _ in range(30_000)]
    words += ["x" * 100, "x" * 101, "xq" * 60, "don't", "#ThankYou", "a" * 5000, "!" * 300, "]", "\\"]
    expected = [encoding.ids for encoding in reference.encode_batch(words, add_special_tokens=False)]
    plain = 0
    for word, ids in zip(words, expected, strict=True):
        found = cutting.encode(word)
        if found is not None:
            assert list(found[:MAX_LENGTH]) == ids, word
            plain += 1
    assert plain > 25_000


@pytest.mark.parametrize("word", ["caf\u00e9", "\u4e2d", "\U0001f600", "a\u200db", "[SEP]", "a[b", "\x07"])
def test_words_that_are_not_plain_are_left_to_the_reference(reference: Tokenizer, word: str) -> None:
    cutting = wordpiece_of(reference)
    assert cutting is not None
    assert cutting.encode(word) is None
