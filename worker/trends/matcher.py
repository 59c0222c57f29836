"""Which of thousands of tracked queries a post matches, in one pass over its text."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import ahocorasick

from worker.trends.query_syntax import And, Leaf, Node, Not, Or, holds, leaves, parse
from worker.trends.text import folded, plain, tokens


class Named(NamedTuple):
    """What a matcher looks for, and what it answers for it."""

    name: str
    node: Node


class Matcher:
    """All queries at once.

    One Aho-Corasick automaton (Aho and Corasick 1975) finds the words and phrases of all queries; hashtags,
    mentions, authors, languages and sources are looked up. Each query has a few leaves one of which must be
    there for it to hold (`_needed`); only queries of which such a leaf was found are evaluated.
    """

    def __init__(self, queries: Mapping[str, str]) -> None:
        """`queries`: expressions by the name that `match` answers.

        Raises:
            QuerySyntaxError: one of them cannot be parsed.
        """
        named = [Named(name, parse(expression)) for name, expression in queries.items()]
        self._by_leaf: dict[Leaf, tuple[list[str], list[Named]]] = {}
        """For each leaf the queries that hold because of it, and those that may."""
        self._automaton = ahocorasick.Automaton()
        self._kinds: set[str] = set()
        for query in named:
            for leaf in _needed(query.node):
                sure, may = self._by_leaf.setdefault(leaf, ([], []))
                if _enough(query.node, leaf):
                    sure.append(query.name)
                else:
                    may.append(query)
            for leaf in leaves(query.node):
                self._kinds.add(leaf.kind)
                if leaf.kind == "text":
                    self._automaton.add_word(leaf.value, leaf)
        if "text" in self._kinds:
            self._automaton.make_automaton()

    def match(
        self,
        text: str | None,
        author_id: str | int | None = None,
        lang: str | None = None,
        source: str | None = None,
    ) -> Sequence[str]:
        """The names of the queries that a post matches, each once."""
        return self.match_tokens(tokens(text) if text else [], author_id, lang, source)

    def match_tokens(
        self, found: list[str], author_id: str | int | None, lang: str | None, source: str | None
    ) -> Sequence[str]:
        """The same for a text that is already cut by `worker.trends.text.tokens`."""
        there = self._leaves(found, author_id, lang, source)
        if not there:
            return ()
        names: dict[str, None] = {}
        for leaf in there:
            of_leaf = self._by_leaf.get(leaf)
            if of_leaf is None:
                continue
            names.update(dict.fromkeys(of_leaf[0]))
            names.update((query.name, None) for query in of_leaf[1] if holds(query.node, there))
        return tuple(names)

    def _leaves(
        self, found: list[str], author_id: str | int | None, lang: str | None, source: str | None
    ) -> set[Leaf]:
        kinds = self._kinds
        there: set[Leaf] = set()
        if found and "text" in kinds:
            there.update(leaf for _, leaf in self._automaton.iter(plain(found)))
        if "hashtag" in kinds:
            there.update(Leaf("hashtag", token[1:]) for token in found if token[0] == "#" and len(token) > 1)
        if "mention" in kinds:
            there.update(Leaf("mention", token[1:]) for token in found if token[0] == "@" and len(token) > 1)
        if "author" in kinds and author_id is not None:
            there.add(Leaf("author", folded(str(author_id))))
        if "lang" in kinds and lang:
            there.update(_languages(folded(lang)))
        if "source" in kinds and source is not None:
            there.add(Leaf("source", folded(source)))
        return there


def _languages(lang: str) -> Iterable[Leaf]:
    """`lang:pt` means also pt-BR."""
    yield Leaf("lang", lang)
    primary = lang.partition("-")[0]
    if primary != lang:
        yield Leaf("lang", primary)


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
