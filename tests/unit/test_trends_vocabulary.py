"""Cutting texts in C: as in Python, whatever they hold."""

from __future__ import annotations

import platform
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from worker.trends.counting import Said
from worker.trends.matcher import Matcher
from worker.trends.native import library as native
from worker.trends.terms import terms_of
from worker.trends.text import plain, tokens
from worker.trends.vocabulary import Vocabulary, left_to_python

SAID = Said("ana", "en", "tweets")
QUERIES = {
    "word": "sun OR rain*",
    "phrase": '"the sun" OR #sun',
    "not": "sun lang:en NOT rain",
    "two not": "the NOT rain NOT (sun source:tweets)",
    "mention": "@ana OR author:bob",
}
WORDS = ["the", "Sun", "#sun", "@ana", "rain", "rainy", "the  sun", "\u2019s"]
COMMON = "aAz09_#@ :/.'\t\n\x00\u2019\u2026\u2014\u00a0\u201c\u00e9\u2764\ufe0f\U0001f602"
texts = st.lists(
    st.text(st.sampled_from(COMMON), max_size=60)
    | st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join)
    | st.text(max_size=40),
    max_size=8,
)  # fmt: skip


def test_there_is_a_library_where_one_is_made() -> None:
    made = sys.platform == "linux" and platform.machine() in ("x86_64", "AMD64")
    assert (native.library() is not None) == made


@given(texts)
@example(
    ["", "#", "@ #", "a#b", "##x", "#1x", "#_x", "x#", "http://a.b", "x" * 40, "x" * 41, "\ud800", "a\u2026b"]
)
def test_texts_hold_what_python_says(given: list[str]) -> None:
    scanned = Vocabulary().scan(given)
    assert scanned.terms() == [terms_of(tokens(text)) for text in given]
    assert [scanned.plain(place) for place in range(len(given))] == [plain(tokens(text)) for text in given]


@given(texts)
def test_queries_match_as_in_python(given: list[str]) -> None:
    matcher = Matcher(QUERIES)
    scanned = matcher.match_scanned(Vocabulary().scan(given), [SAID] * len(given))
    in_python = matcher.match_scanned(left_to_python([tokens(text) for text in given]), [SAID] * len(given))
    assert [set(found) for found in scanned] == [set(found) for found in in_python]
    assert [set(found) for found in scanned] == [set(matcher.match(text, *SAID)) for text in given]


def test_most_texts_are_cut_in_c() -> None:
    """Else the tests above would compare Python with itself."""
    if native.library() is None:
        pytest.skip("no library here: install moodstream on Linux on x86-64, which compiles it")
    given = ["The sun isn\u2019t out\u2026", "RT @ana: #sun!", "plain", "\u2764", "see http://a.b"]
    assert [found is None for found in Vocabulary().scan(given).cut] == [True, True, True, False, False]


def test_numbers_last_from_batch_to_batch_and_a_full_vocabulary_begins_anew() -> None:
    vocabulary = Vocabulary(most=3)
    matcher = Matcher({"sun": "sun", "day": "day"})
    for batch in (["sun rain"], ["rain sun"], ["wind"], ["day rain"], ["sun"], ["a b c d"], ["sun day"]):
        scanned = vocabulary.scan(batch)
        assert scanned.terms() == [terms_of(tokens(text)) for text in batch]
        assert [set(found) for found in matcher.match_scanned(scanned, [SAID])] == [
            {"sun", "day"} & set(batch[0].split())
        ]


def test_a_text_without_numbers_does_not_make_a_matcher_forget_what_tokens_bring(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    vocabulary, matcher = Vocabulary(), Matcher({"sun": "sun"})
    asked: list[str] = []
    of_token = matcher._of_token

    def noted(token: str) -> object:
        asked.append(token)
        return of_token(token)

    monkeypatch.setattr(matcher, "_of_token", noted)
    for _ in range(2):
        assert matcher.match_scanned(vocabulary.scan(["the sun"]), [SAID]) == [("sun",)]
        assert matcher.match_scanned(left_to_python([["moon"]]), [SAID]) == [()]
    assert asked == (["the", "sun"] if native.library() else [])  # Python remembers by itself


def test_a_text_contributes_a_bounded_number_of_terms() -> None:
    text = " ".join(f"w{number}" for number in range(1000))
    assert Vocabulary().scan([text]).terms() == [terms_of(tokens(text))]


def test_without_a_library_python_does_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    given = ["The sun", "", "#rain"]
    expected = Vocabulary().scan(given).terms()
    monkeypatch.setattr("worker.trends.vocabulary.library", lambda: None)
    scanned = Vocabulary().scan(given)
    assert scanned.terms() == expected
    assert len(scanned.numbers) == 0
    assert [found is None for found in scanned.cut] == [False] * 3
