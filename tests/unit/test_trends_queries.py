"""The language of tracked queries, and the matcher against evaluating each query by itself."""

from __future__ import annotations

import itertools
import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clock import ManualClock
from worker.trends import matcher as matcher_module
from worker.trends import remembered
from worker.trends.matcher import Matcher
from worker.trends.queries import (
    BadQueryNameError,
    MemoryQueryStore,
    Query,
    QuerySyntaxError,
    TooManyQueriesError,
    UnknownQueryError,
    parse,
)
from worker.trends.query_syntax import LONGEST, MOST_LEAVES, And, Leaf, Node, Not, Or, holds, leaves
from worker.trends.text import plain, tokens


def _matches(expression: str, text: str = "", **post: str | int) -> bool:
    return bool(Matcher({"q": expression}).match(text, **post))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("joy", "JOY!"),
        ("JOY", "what joy"),
        ("straße", "STRASSE"),
        ("café", "at the cafe\u0301"),
        ("love", "so much #love"),
        ("love", "hi @love"),
        ("nasa", "NASA's rocket"),
        ("don't", "I don\u2019t"),
        ('"black friday"', "Black   Friday, again"),
        ('"black friday"', "black-friday"),
        ("\u201cblack friday\u201d", "black friday"),
        ("C++", "c is old"),
        ("nytimes.com", "see https://www.nytimes.com/a?b=c"),
        ("#BlackFriday", "wow #blackfriday!"),
        ("@NASA", "hey @nasa"),
        ("happ*", "happiness"),
        ('"so happ"', "so happ"),
        ("😀", "ha😀"),
        ("👍", "ok 👍🏽"),
        ("❤", "I ❤️ it"),
        ("🇩🇪", "hi 🇩🇪🇫🇷"),
        ("東京", "今日東京へ行く"),
        ("iphone東京", "iphone東京駅"),
        ("a AND b", "b a"),
        ("a b", "b and a"),
        ("a OR b", "b"),
        ("a NOT b", "a c"),
        ("a -b", "a c"),
        ("a AND (b OR c) AND NOT (d OR e)", "c a"),
        ("a OR b AND c", "a"),
        ("NOT NOT a", "a"),
        ("and", "this and that"),
        ("ａｂｃ", "abc"),
    ],
)
def test_it_matches(expression: str, text: str) -> None:
    assert _matches(expression, text)


@pytest.mark.parametrize(
    ("expression", "text"),
    [
        ("art", "party"),
        ("art", "arts"),
        ("#love", "love @love"),
        ("@nasa", "nasa #nasa"),
        ('"black friday"', "friday black"),
        ('"black friday"', "black good friday"),
        ("happ*", "unhappy"),
        ("a AND b", "a"),
        ("a -b", "a b"),
        ("a OR b AND c", "b"),
        ("NOT NOT a", "b"),
        ("iphone東京", "myiphone東京"),
        ("🇫🇷", "🇩🇪"),
    ],
)
def test_it_does_not_match(expression: str, text: str) -> None:
    assert not _matches(expression, text)


def test_authors_languages_and_sources() -> None:
    assert _matches("author:Bob42", author_id="bob42")
    assert _matches("author:42", author_id=42)
    assert not _matches("author:42", author_id=421)
    assert _matches("lang:EN", lang="en")
    assert _matches("lang:pt", lang="pt-BR")
    assert not _matches("lang:pt-br", lang="pt")
    assert _matches('source:"My Feed"', source="my feed")
    assert _matches("lang:en sun -source:web", "the sun", lang="en", source="ios")
    assert not _matches("lang:en sun -source:web", "the sun", lang="en", source="web")
    assert not _matches("author:bob OR lang:en OR source:x", "author:bob lang:en")


@pytest.mark.parametrize(
    ("expression", "position", "message"),
    [
        ("", 0, "empty"),
        ("   ", 0, "empty"),
        ("a AND", 5, "not the end"),
        ("a AND  ", 5, "not the end"),
        ("OR a", 0, "not OR"),
        ("a AND OR b", 6, "not OR"),
        ("(a", 0, "never closed"),
        ("a (b (c)", 2, "never closed"),
        ("a) b", 1, "closes nothing"),
        ("()", 1, r"not \)"),
        ('a "b', 2, "never closed"),
        ("a !!", 2, "no letter"),
        ('""', 0, "no letter"),
        ("NOT a", 0, "NOT there"),
        ("a OR NOT b", 0, "NOT there"),
        ("mood:joy", 0, "none of author"),
        ("a lang:\"\"", 2, "needs a value"),
        ("a b*c", 2, "only end a word"),
        ("a ab*", 2, "three characters"),
        ("a #abc*", 2, "not a hashtag"),
        ("(" * 60 + "a" + ")" * 60, 50, "nested"),
        ("x" * (LONGEST + 1), LONGEST, "longer than"),
    ],
)  # fmt: skip
def test_an_error_says_where(expression: str, position: int, message: str) -> None:
    with pytest.raises(QuerySyntaxError, match=message) as error:
        parse(expression)
    assert error.value.position == position


def test_too_many_terms_are_refused() -> None:
    assert parse(" OR ".join(f"w{i}" for i in range(MOST_LEAVES)))
    with pytest.raises(QuerySyntaxError, match="different terms"):
        parse(" OR ".join(f"w{i}" for i in range(MOST_LEAVES + 1)))


@given(st.text(max_size=60))
def test_any_text_is_parsed_or_refused_with_a_position_in_it(text: str) -> None:
    refused = None
    try:
        node = parse(text)
    except QuerySyntaxError as error:
        refused = error
    if refused is not None:
        assert 0 <= refused.position <= len(text)
    else:
        assert leaves(node)
        assert not holds(node, ())


_WORDS = ["a", "b", "c", "a b", "b c"]
_LEAVES = st.one_of(
    st.sampled_from(_WORDS).map(lambda words: f'"{words}"'),
    st.sampled_from(["#a", "#b", "@a", "lang:en", "source:x", "author:7"]),
)
_EXPRESSIONS = st.recursive(
    _LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, inner).map(lambda two: f"({two[0]} AND {two[1]})"),
        st.tuples(inner, inner).map(lambda two: f"({two[0]} OR {two[1]})"),
        inner.map(lambda one: f"NOT {one}"),
    ),
    max_leaves=8,
)


@given(
    st.lists(_EXPRESSIONS, min_size=1, max_size=12),
    st.lists(st.sampled_from(["a", "b", "c", "d", "#a", "#b", "@a"]), max_size=6),
    st.sampled_from(["en", "de", None]),
    st.sampled_from(["x", "y"]),
    st.sampled_from([7, 8, None]),
)
def test_the_matcher_answers_as_each_query_by_itself(
    expressions: list[str], words: list[str], lang: str | None, source: str, author: int | None
) -> None:
    queries = {}
    for number, expression in enumerate(expressions):
        try:
            parse(expression)
        except QuerySyntaxError:
            continue
        queries[str(number)] = expression
    found = Matcher(queries).match(" ".join(words), author, lang, source)
    plain = [word.lstrip("#@") for word in words]
    there = {Leaf("lang", str(lang)), Leaf("source", source), Leaf("author", str(author))}
    there |= {Leaf("hashtag", word[1:]) for word in words if word[0] == "#"}
    there |= {Leaf("mention", word[1:]) for word in words if word[0] == "@"}
    there |= {Leaf("text", f" {word} ") for word in plain}
    there |= {Leaf("text", f" {one} {two} ") for one, two in itertools.pairwise(plain)}
    assert len(found) == len(set(found))
    assert set(found) == {name for name, text in queries.items() if holds(parse(text), there)}


_ASKED = [
    "so",
    "lon*",
    "so-lon*",
    '"so long"',
    '"long so"',
    '"x org so"',
    "น้ำ",
    '"น้ำ so"',
    '"so น้ำ"',
    "日本語*",
]
_SAID = [
    "so",
    "long",
    "#so",
    "@long",
    "longer",
    "http://x.org/so",
    "X.org",
    "น้ำ",
    "น้ำแข็ง",
    "日本語の",
    "😀",
    ".",
]


@given(
    st.lists(st.sampled_from(_ASKED), min_size=1, unique=True),
    st.lists(st.sampled_from(_SAID), max_size=8).map(" ".join),
    st.booleans(),
)
def test_words_and_phrases_are_found_where_they_stand_in_the_text(
    asked: list[str], text: str, one_by_one: bool
) -> None:
    """Token by token, and with many phrases by the automaton, as by looking for each in the whole text."""
    patterns = {expression: next(iter(leaves(parse(expression)))).value for expression in asked}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(matcher_module, "_FEW", 16 if one_by_one else 0)
        found = Matcher({expression: expression for expression in asked}).match(text)
    row = plain(tokens(text))
    assert set(found) == {expression for expression, pattern in patterns.items() if pattern in row}


def test_strangers_words_fill_no_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remembered, "_MOST", 100)
    matcher = Matcher({"q": "joy*"})
    for number in range(1000):
        assert matcher.match(f"joy{number} a{number} {'b' * 50}{number}") == ("q",)
    assert len(matcher._tokens) <= 100
    assert max(map(len, matcher._tokens)) <= 40


def test_strangers_languages_and_sources_fill_no_memory() -> None:
    matcher = Matcher({"q": "joy lang:en source:web"})
    tracemalloc.start()
    try:
        for number in range(5_000):
            matcher.match("joy", lang=str(number), source="web")
        for number in range(400):
            matcher.match("joy", lang="x" * 50_000 + str(number), source="y" * 50_000 + str(number))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < 2_000_000  # bytes; the long ones alone are 40 million
    assert matcher.match("joy", lang="en", source="web") == ("q",)


def test_the_tree() -> None:
    a, b, c = (Leaf("text", f" {letter} ") for letter in "abc")
    tree: Node = parse("a b OR NOT c a")
    assert tree == Or((And((a, b)), And((Not(c), a))))


def test_a_store_of_queries() -> None:
    clock = ManualClock(1000)
    store = MemoryQueryStore(clock, max_queries=2)
    first = store.put(Query("sun", "sun"))
    assert first.since is not None
    assert first.since.timestamp() == 1000
    clock.sleep(5)
    assert store.put(Query("sun", "sun")) == first
    changed = store.put(Query("sun", "sun OR moon"))
    assert changed.id != first.id
    assert store.find("sun") == changed
    version = store.version()
    store.put(Query("a", "a"))
    assert store.version() != version
    with pytest.raises(TooManyQueriesError):
        store.put(Query("b", "b"))
    assert [query.name for query in store.list()] == ["a", "sun"]
    assert store.remove("a")
    assert not store.remove("a")
    with pytest.raises(UnknownQueryError):
        store.find("a")
    with pytest.raises(QuerySyntaxError):
        store.put(Query("bad", "("))
    for name in ("", "x" * 65, " a", "a\n"):
        with pytest.raises(BadQueryNameError):
            store.put(Query(name, "a"))
