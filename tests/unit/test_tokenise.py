from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from worker.model.bundled import bundled_model
from worker.model.tokenise import Tokeniser, WordCache

PATH = bundled_model() / "tokenizer.json"
MAX_LENGTH = 32

ODD = [
    *map(chr, range(0x00, 0x250)),
    *map(chr, range(0x300, 0x330)),
    *map(chr, range(0x2000, 0x2070)),
    *"\u3000\ufffd\u00ad\u200d\u4e2d\U0001f600\ue000\u0378\u1e9e\u0130\ufb01\uac00\u1100\u1161\u180e\ufeff",
    *" abcdefgh.,!?#@" * 20,
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


@settings(max_examples=300)
@given(st.lists(st.text(), max_size=5))
def test_ids_equal_the_reference_on_any_text(texts: list[str]) -> None:
    tokeniser = Tokeniser(PATH, MAX_LENGTH)
    expected = Tokenizer.from_file(str(PATH))
    expected.no_padding()
    expected.enable_truncation(MAX_LENGTH)
    assert tokeniser.encode(texts) == [encoding.ids for encoding in expected.encode_batch(texts)]


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
        assert cache.missing({"often"}) == (set() if index else {"often"})
        cache.young["often"] = (1,)
        cache.young[f"once-{index}"] = (2,)
        cache.age()
        assert len(cache) <= 12


def test_a_long_word_is_not_kept(tokeniser: Tokeniser) -> None:
    word = "x" * 5000
    assert tokeniser.encode([word]) == tokeniser.encode([word])
    assert tokeniser._cache.missing({word}) == {word}
