"""What `normalise` does to a text, and what it never does."""

from __future__ import annotations

import time

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.errors import ConfigurationError
from worker.model.text import LATEST, MAX_CHARACTERS, VERSIONS, normalise, normaliser

FRAGMENTS = st.sampled_from(
    [
        *("&amp;", "&", "amp;", "&#97;", "#97;mp;", "&#38", "&ggg;", "&lt", ";", "@", "@a", "é"),
        *("http://x", "https://", "www.", "hhh", "h", "wwww", "oooo", "aaaaaa", "t", "://", "feel"),
        *(" ", "\t", "\n", "\x1c", "\x85", "\xa0", "\ud83d", "\ude00", "😀", "&#x110000;", "&#0;"),
    ]
)
TEXTS = st.text(st.characters(exclude_categories=())) | st.lists(FRAGMENTS).map("".join)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        pytest.param("i feel fine", "i feel fine", id="plain text is left alone"),
        pytest.param("", "", id="empty"),
        pytest.param("Tom &amp; Jerry &lt;3", "Tom & Jerry <3", id="entities"),
        pytest.param("Tom &amp;amp; Jerry", "Tom & Jerry", id="entities escaped twice"),
        pytest.param("see https://t.co/a?b=1 now", "see http now", id="link"),
        pytest.param("see www.example.com", "see http", id="link without a scheme"),
        pytest.param("@Ann_1 and @bob: hi", "@user and @user: hi", id="mentions"),
        pytest.param("soooooo good", "sooo good", id="stretched vowel"),
        pytest.param("see you soon", "see you soon", id="double vowels stay"),
        pytest.param("  a \t b\u00a0\n c ", "a b c", id="white space"),
        pytest.param("#LOVE it 😍", "#LOVE it 😍", id="case, hashtags and emoji stay"),
        pytest.param("\ud83d", "\ufffd", id="half a surrogate pair"),
        pytest.param("\ud83d\ude00", "😀", id="a pair in two halves is joined"),
    ],
)
def test_version_1(raw: str, clean: str) -> None:
    assert normalise(raw, 1) == clean


@given(TEXTS)
@example("&" * 40 + "amp;" + "#97;mp;" * 40)
@example("&gg&#103;&#103;;")
@example("@a " * MAX_CHARACTERS)
@example("hhhwww.x.com")
def test_never_raises_and_is_idempotent(text: str) -> None:
    clean = normalise(text)

    assert normalise(clean) == clean
    assert len(clean) <= MAX_CHARACTERS
    clean.encode()  # No lone surrogate reaches the tokenizer.


@given(st.text(), st.integers(min_value=0, max_value=50))
def test_idempotent_where_the_text_is_cut(text: str, shift: int) -> None:
    clean = normalise("x" * (MAX_CHARACTERS - shift) + text)

    assert normalise(clean) == clean
    assert len(clean) <= MAX_CHARACTERS


def test_a_huge_text_costs_no_more_than_a_long_one() -> None:
    started = time.perf_counter()
    for hostile in ("a" * 10_000_000, "&amp;" * 1_000_000, "@" * 1_000_000, "http://" * 1_000_000):
        assert len(normalise(hostile)) <= MAX_CHARACTERS
    # Measured: below 2 ms together. Without the first cut it is seconds.
    assert time.perf_counter() - started < 0.5


def test_an_unknown_version_says_which_are_known() -> None:
    with pytest.raises(ConfigurationError, match=r"text_version 999 is unknown .*knows 1"):
        normalise("text", 999)


def test_the_latest_version_is_the_default() -> None:
    assert max(VERSIONS) == LATEST
    assert normaliser(LATEST)("a  b") == normalise("a  b") == "a b"
