"""Typing errors: what is put right, and what is left alone."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model.spelling import Speller, bundled_words, corrected, words_of

WORDS = words_of({"happy": 900, "really": 500, "disappointed": 40, "comedy": 60, "so": 9000, "sad": 800})


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("hpapy", "happy"),
        ("hapy", "happy"),
        ("happpy", "happy"),
        ("reallly", "really"),
        ("realy", "really"),
        ("dissappointed", "disappointed"),
        ("dissapointed", "dissapointed"),  # two slips
        ("soooo", "so"),
        ("saaad", "sad"),
        ("noooo", "noo"),  # the list knows neither: twice
        ("comey", "comey"),  # one letter from a word that is too rare for a name to be a slip of it
        ("appyh", "appyh"),  # the first and the last letter stay
        ("sda", "sda"),  # too short
        ("h" * 10_000, "h" * 10_000),
    ],
)
def test_a_word(typed: str, meant: str) -> None:
    assert corrected(typed, WORDS) == meant


def test_a_listed_word_is_right_whatever_it_looks_like() -> None:
    assert corrected("hapy", words_of(WORDS.common, frozenset({"hapy"}))) == "hapy"


def test_of_two_words_the_commoner_was_meant() -> None:
    words = words_of({"quiet": 300, "quite": 900, "quitter": 200})

    assert corrected("quitte", words) == "quite"
    assert corrected("quiet", words) == "quiet"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("I am HPAPY, relly hpapy!", "I am HAPPY, really happy!"),
        ("Hapy? (hapy) #hapy", "Happy? (happy) #happy"),
        ("@hapy hap-y hapy's hapy1 ", "@hapy hap-y hapy's happy1 "),
        ("", ""),
    ],
)
def test_marks_and_case_stay(text: str, expected: str) -> None:
    assert Speller(WORDS)(text) == expected


def test_words_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("worker.model.spelling._REMEMBERED", 2)
    speller = Speller(WORDS)

    assert [speller(text) for text in ("a b c hapy", "hapy d", "hapy")] == ["a b c happy", "happy d", "happy"]
    assert len(speller._met) <= 4


@pytest.mark.parametrize(
    "word", ["love", "feel", "thank", "hate", "terrified", "surprised", "comey", "romo", "kkk"]
)
def test_the_bundled_list_leaves_right_words_and_names_alone(word: str) -> None:
    assert corrected(word, bundled_words()) == word


@given(st.text("aehlopsty", min_size=1, max_size=14))
def test_what_was_put_right_stays(word: str) -> None:
    once = corrected(word, bundled_words())

    assert corrected(once, bundled_words()) == once
