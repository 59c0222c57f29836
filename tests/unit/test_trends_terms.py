"""Tokens, terms and their ranking."""

from __future__ import annotations

import itertools
import re
import unicodedata
from importlib import resources

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from worker.trends import text as text_module
from worker.trends.terms import LONGEST_TERM, MOST_TERMS, Term, TermCounts, kind_of, lift, ranked, terms_of
from worker.trends.text import plain, tokens

_ONE_BY_ONE = re.compile(
    rf"https?://\S+|[0-9]\u20e3|{text_module._EMOJI}|(?<!\w)#\w*[^\W\d_]\w*|(?<!\w)@\w+|\w+"
)
"""What tokens are, said plainly: no shorter ways for ASCII and what stands between tokens."""


def _plainly(text: str) -> list[str]:
    twice = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold())
    dropped = {0xFE0E, 0xFE0F, *range(0x1F3FB, 0x1F400)}
    return _ONE_BY_ONE.findall("".join(one for one in twice if ord(one) not in dropped))


_ODD = "ab1_#@ :/.,'-hHtps\u20e3😀👍🏽\u200d\ufe0f🇩🇪é日©\u0130\n\t\x00\x1c\x85\u2026\u2019²"


@settings(max_examples=1000)
@given(st.one_of(st.text(), st.text(_ODD), st.text(_ODD[:20]), st.text(st.characters(max_codepoint=127))))
def test_the_shorter_ways_to_tokens_end_where_the_plain_one_does(text: str) -> None:
    assert tokens(text) == _plainly(text)


def test_so_they_do_for_every_way_in_which_marks_can_stand() -> None:
    for length in range(6):
        for text in map("".join, itertools.product("a1@# .", repeat=length)):
            assert tokens(text) == _plainly(text)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("RT @user: #Brexit2016 http://t.co/xY", ["rt", "@user", "#brexit2016", "http://t.co/xy"]),
        ("#1 #2nd a#b C#", ["1", "#2nd", "a", "b", "c"]),
        ("mail me@example.org", ["mail", "me", "example", "org"]),
        ("it\u2019s 5\u20e3 o'clock", ["it", "s", "5\u20e3", "o", "clock"]),
        ("👩‍❤️‍👩👍🏿🇩🇪🇫🇷", ["👩\u200d❤\u200d👩", "👍", "🇩🇪", "🇫🇷"]),
        ("Ⅷ ﬁne ＡＢＣ", ["viii", "fine", "abc"]),
        ("", []),
    ],
)
def test_tokens(text: str, found: list[str]) -> None:
    assert tokens(text) == found


def test_every_emoji_is_one_token() -> None:
    table = resources.files("worker.model").joinpath("emoji.tsv").read_text(encoding="utf-8")
    emoji = [line.split("\t")[0] for line in table.splitlines() if not line.startswith("#")]
    emoji = [one for one in emoji if unicodedata.is_normalized("NFKC", one)]  # not Ⓜ, which is a letter
    assert len(emoji) > 1300
    cut = {one: tokens(f"a{one}b") for one in emoji}
    assert {one: found for one, found in cut.items() if len(found) != 3} == {}
    assert {kind_of(found[1]) for found in cut.values()} == {"emoji"}


@given(st.text(max_size=80))
def test_tokens_of_any_text(text: str) -> None:
    found = tokens(text)
    assert all(found)
    assert tokens(" ".join(found)) == found
    assert plain(found).startswith(" ")
    assert {kind_of(term) for term in terms_of(found)} <= {"term", "hashtag", "emoji"}


def test_terms_of_a_post() -> None:
    text = "The sun! sun #Sun 😀 2024 @user https://x.org/sun isn't it " + "x" * (LONGEST_TERM + 1)
    assert terms_of(tokens(text)) == ("sun", "#sun", "😀")
    assert len(terms_of(f"w{i}" for i in range(1000))) == MOST_TERMS


def test_lift_is_drawn_towards_one() -> None:
    assert lift(10, 100, 100, 1000) == 1
    assert lift(1, 100, 1, 1000) < lift(10, 100, 10, 1000) < lift(1000, 100, 1000, 1000)
    assert lift(0, 100, 100, 1000) < 1


def test_ranking() -> None:
    counts = {"rain": 40, "sun": 30, "the": 90, "#sun": 20, "😀": 5, "once": 1, "moon": 30}
    background = {"rain": 300, "sun": 33, "the": 900, "#sun": 22, "😀": 6, "once": 1, "moon": 33}
    of, all_ = TermCounts(counts, 100), TermCounts(background, 1000)
    assert [term.term for term in ranked(of, all_, "term", 10)] == ["moon", "sun", "rain"]
    assert ranked(of, all_, "hashtag", 10) == [Term("#sun", 20, lift(20, 100, 22, 1000))]
    assert [term.n for term in ranked(of, all_, "emoji", 10)] == [5]
    assert len(ranked(of, all_, "term", 1)) == 1
