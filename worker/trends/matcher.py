"""Which of thousands of tracked queries a post matches, in one pass over its text."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from functools import reduce
from itertools import pairwise
from typing import NamedTuple

import ahocorasick
import numpy as np

from worker.trends.counting import Said
from worker.trends.query_syntax import And, Kind, Leaf, Node, Not, Or, holds, leaves, parse
from worker.trends.remembered import Remembered
from worker.trends.text import folded, plain, tokens
from worker.trends.vocabulary import Scanned, Words, left_to_python

_KINDS: tuple[Kind, ...] = ("text", "hashtag", "mention", "author", "lang", "source")

_MARKS: dict[Kind, str] = {"hashtag": "#", "mention": "@"}
_MOST_SAID, _LONGEST_SAID = 1000, 100
"""Pairs of language and source that are remembered, and their characters: they are what strangers write."""

_FEW = 16
"""Phrases that are looked for one by one."""

_Test = Callable[[AbstractSet[int]], bool]
"""Whether an expression holds where leaves of these numbers were found."""


class _OfLeaf(NamedTuple):
    """What follows from a leaf that was found."""

    sure: dict[str, None]
    """Names of queries that hold because of it."""
    may: list[tuple[str, _Test]]
    """Names of queries that may, and how to tell."""


class _Brought(NamedTuple):
    """What is there with a token, or with what a post says of itself."""

    numbers: frozenset[int]
    """Of leaves."""
    sure: dict[str, None]
    may: list[tuple[str, _Test]]
    """What follows from all of them."""
    phrases: frozenset[tuple[str, int]] = frozenset()
    """Patterns that a token begins and the next ones may go on, and the numbers of their leaves."""


_NOTHING = _Brought(frozenset(), {}, [])


class Matcher:
    """All queries at once. Belongs to one thread.

    An Aho-Corasick automaton (Aho and Corasick 1975) finds the words and beginnings of all queries in a
    token, and a second one the first words of their phrases; what they find is remembered by token, so that
    mostly each token is only looked up. Phrases that are begun are looked for in the whole text. Authors,
    languages and sources are looked up too. Each query has a few leaves one of which must be there for it to
    hold (`_needed`); only queries of which such a leaf was found are evaluated. Leaves are numbered, because
    most of the time goes into looking them up.
    """

    def __init__(self, queries: Mapping[str, str]) -> None:
        """`queries`: expressions by the name that `match` answers.

        Raises:
            QuerySyntaxError: one of them cannot be parsed.
        """
        self._numbers: dict[Kind, dict[str, int]] = {kind: {} for kind in _KINDS}
        """By kind and value of a leaf, its number."""
        self._by_leaf: dict[int, _OfLeaf] = {}
        """What follows from those that `_needed` names."""
        for name, expression in queries.items():
            self._add(name, parse(expression))
        inside: dict[str, int] = {}
        heads: dict[str, list[tuple[str, int]]] = {}
        for value, number in self._numbers["text"].items():
            head = _head(value)
            if head is None:
                inside[value] = number
            else:
                heads.setdefault(head, []).append((value, number))
        self._inside, self._heads = _automaton(inside), _automaton(heads)
        self._phrases = _automaton({value: number for those in heads.values() for value, number in those})
        self._marked = {
            mark + value: number
            for kind, mark in _MARKS.items()
            for value, number in self._numbers[kind].items()
        }
        """The numbers of hashtags and mentions, by token."""
        self._authors = self._numbers["author"]
        self._tokens = Remembered(self._of_token)
        self._words: Words | None = None
        self._of_number: list[_Brought] = []
        """What a token brings that has a number."""
        self._bring = np.zeros(0, np.bool_)
        """Which of them bring anything."""
        self._said: dict[tuple[str | None, str | None], list[_Brought]] = {}
        """By language and source, what they bring."""

    def _add(self, name: str, node: Node) -> None:
        test = _test_of(node, self._number)
        for leaf in _needed(node):
            of_leaf = self._by_leaf.setdefault(self._number(leaf), _OfLeaf({}, []))
            if _enough(node, leaf):
                of_leaf.sure[name] = None
            else:
                of_leaf.may.append((name, test))

    def _number(self, leaf: Leaf) -> int:
        of_kind = self._numbers[leaf.kind]
        if leaf.value not in of_kind:
            of_kind[leaf.value] = sum(map(len, self._numbers.values()))
        return of_kind[leaf.value]

    def match(
        self,
        text: str | None,
        author_id: str | int | None = None,
        lang: str | None = None,
        source: str | None = None,
    ) -> Sequence[str]:
        """The names of the queries that a post matches, each once."""
        texts = left_to_python([tokens(text) if text else []])
        return self.match_scanned(texts, [Said(author_id, lang, source)])[0]

    def match_scanned(self, texts: Scanned, said: Sequence[Said]) -> list[Sequence[str]]:
        """The same for many texts."""
        if len(texts.numbers):
            self._learn(texts.words)
        chosen, bounds = texts.chosen(self._bring)
        brought = [self._of_number[number] for number in chosen.tolist()]
        places = zip(pairwise(bounds.tolist()), texts.cut, said, strict=True)
        return [
            self._match(
                brought[start:end] if found is None else self._brought(found),
                texts.plain,
                place,
                of_post,
            )
            for place, ((start, end), found, of_post) in enumerate(places)
        ]

    def _learn(self, words: Words) -> None:
        """What each token that has a number brings."""
        if words is not self._words:
            self._words, self._of_number = words, []
            self._bring = np.zeros(len(words.are_terms), np.bool_)
        first = len(self._of_number)
        self._of_number += [self._of_token(token) or _NOTHING for token in words.tokens[first:]]
        self._bring[first : len(self._of_number)] = [of is not _NOTHING for of in self._of_number[first:]]

    def _brought(self, found: Iterable[str]) -> list[_Brought]:
        return [of_token for of_token in map(self._tokens.__getitem__, found) if of_token is not None]

    def _match(
        self, brought: list[_Brought], row_of: Callable[[int], str], place: int, said: Said
    ) -> Sequence[str]:
        """What holds for a post whose tokens bring this. `row_of(place)`: its tokens as `plain` has them."""
        author, lang, source = said
        found = brought + self._said_of(lang, source)
        if self._authors and author is not None:
            found += self._of_leaves(_known([folded(str(author))], self._authors))
        names: dict[str, None] = {}
        may: list[tuple[str, _Test]] = []
        begun: set[tuple[str, int]] = set()
        for _, sure, tests, phrases in found:
            if sure:
                names |= sure
            if tests:
                may += tests
            if phrases:
                begun |= phrases
        phrases_there = self._there(begun, row_of(place)) if begun else ()
        for spoken in self._of_leaves(phrases_there) if phrases_there else ():
            names |= spoken.sure
            may += spoken.may
            found.append(spoken)
        if may:
            there = frozenset().union(*[one.numbers for one in found])
            for name, holds_for in may:
                if name not in names and holds_for(there):
                    names[name] = None
        return tuple(names)

    def _there(self, begun: AbstractSet[tuple[str, int]], row: str) -> Collection[int]:
        """Which of the phrases that are begun in a row of tokens are there."""
        if len(begun) <= _FEW:
            return [number for pattern, number in begun if pattern in row]
        # So that no text takes longer than its length allows.
        return {number for _, number in self._phrases.iter(row)}

    def _of_leaves(
        self, numbers: Iterable[int], phrases: frozenset[tuple[str, int]] = frozenset()
    ) -> list[_Brought]:
        """What these leaves bring together, in a list that is empty where that is nothing."""
        there = frozenset(numbers)
        if not there and not phrases:
            return []
        following = [of for number in there if (of := self._by_leaf.get(number)) is not None]
        sure = {name: None for of in following for name in of.sure}
        return [_Brought(there, sure, [may for of in following for may in of.may], phrases)]

    def _of_token(self, token: str) -> _Brought | None:
        """What it brings, if anything."""
        row = plain([token])
        numbers = {number for _, number in self._inside.iter(row)}
        marked = self._marked.get(token)
        if marked is not None:
            numbers.add(marked)
        phrases = frozenset(phrase for _, those in self._heads.iter(row) for phrase in those)
        return next(iter(self._of_leaves(numbers, phrases)), None)

    def _said_of(self, lang: str | None, source: str | None) -> list[_Brought]:
        """What a language and a source bring: of a few pairs, mostly."""
        found = self._said.get((lang, source))
        if found is None:
            found = self._of_leaves(
                [
                    *_known(_languages(folded(lang)) if lang else (), self._numbers["lang"]),
                    *_known([folded(source)] if source is not None else (), self._numbers["source"]),
                ]
            )
            if len(lang or "") + len(source or "") <= _LONGEST_SAID:
                if len(self._said) == _MOST_SAID:
                    self._said.clear()
                self._said[lang, source] = found
        return found


def _automaton(found: Mapping[str, object]) -> ahocorasick.Automaton:
    """What finds these patterns, and brings what they stand for."""
    automaton = ahocorasick.Automaton()
    for pattern, what in found.items():
        automaton.add_word(pattern, what)
    if not found:  # one without a word finds nothing, but says so with an error
        automaton.add_word("\0", None)
    automaton.make_automaton()
    return automaton


def _head(pattern: str) -> str | None:
    """The first word of a pattern of several, as far as the space behind it; None where it is of one."""
    end = pattern.find(" ", 1, -1)
    return None if end < 0 else pattern[: end + 1]


def _known(values: Iterable[str], numbers: Mapping[str, int]) -> list[int]:
    return [numbers[value] for value in values if value in numbers]


def _test_of(node: Node, number: Callable[[Leaf], int]) -> _Test:
    """The test of an expression, made once. Leaves side by side are tested as sets."""
    match node:
        case Leaf():
            return frozenset([number(node)]).issubset
        case Not(part):
            test = _test_of(part, number)
            return lambda there: not test(there)
        case And(parts):
            wanted = frozenset(number(part) for part in parts if isinstance(part, Leaf))
            absent = [part.part for part in parts if isinstance(part, Not)]
            unwanted = frozenset(number(part) for part in absent if isinstance(part, Leaf))
            others: list[Node] = [part for part in parts if not isinstance(part, Leaf | Not)]
            others += [Not(part) for part in absent if not isinstance(part, Leaf)]
            first = (
                (lambda there: wanted <= there and unwanted.isdisjoint(there))
                if unwanted
                else wanted.issubset
            )
            return reduce(_both, [_test_of(part, number) for part in others], first)
        case Or(parts):
            wanted = frozenset(number(part) for part in parts if isinstance(part, Leaf))
            tests = [_test_of(part, number) for part in parts if not isinstance(part, Leaf)]
            return reduce(_either, tests, lambda there: not wanted.isdisjoint(there))


def _both(one: _Test, other: _Test) -> _Test:
    return lambda there: one(there) and other(there)


def _either(one: _Test, other: _Test) -> _Test:
    return lambda there: one(there) or other(there)


def _languages(lang: str) -> set[str]:
    """`lang:pt` means also pt-BR."""
    return {lang, lang.partition("-")[0]}


def _needed(node: Node) -> set[Leaf]:
    """Leaves of which at least one is there wherever the expression holds: as few, and as rare, as can be.

    An expression that holds for no leaf at all has none; `parse` refuses it.
    """
    match node:
        case Leaf():
            return {node}
        case Or(parts):
            return {leaf for part in parts for leaf in _needed(part)}
        case And(parts):
            choices = [_needed(part) for part in parts if not holds(part, ())]
            return min(choices, key=_common, default=set())
        case Not():
            return leaves(node)


def _common(needed: set[Leaf]) -> tuple[bool, int, int]:
    """A guess of how many posts have one of these: languages and sources are common, long words rare."""
    return (
        any(leaf.kind in ("lang", "source") for leaf in needed),
        len(needed),
        -min(len(leaf.value) for leaf in needed),
    )


def _enough(node: Node, leaf: Leaf) -> bool:
    """Whether the expression holds wherever this leaf is there."""
    match node:
        case Leaf():
            return node == leaf
        case Or(parts):
            return any(_enough(part, leaf) for part in parts)
        case And(parts):
            return all(_enough(part, leaf) for part in parts)
        case Not():
            return False
