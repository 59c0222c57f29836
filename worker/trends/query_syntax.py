"""The language of tracked queries: from an expression to a tree that can be evaluated.

    expression := both (OR both)*
    both       := one (AND? one)*          side by side means AND
    one        := (NOT | -) one | ( expression ) | leaf
    leaf       := word | word* | "some words" | #hashtag | @mention | author:id | lang:en | source:name

Operators are in capitals, so that `and` can be looked for. Values with spaces are quoted: `source:"my feed"`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Literal, NamedTuple

from worker.errors import MoodstreamError
from worker.trends.text import folded, pattern, plain, tokens

LONGEST = 2000
"""Characters of an expression."""
MOST_LEAVES = 200
_DEEPEST = 50

Kind = Literal["text", "hashtag", "mention", "author", "lang", "source"]


class QuerySyntaxError(MoodstreamError):
    """An expression that says nothing that can be looked for; `position` counts characters from 0."""

    def __init__(self, position: int, message: str) -> None:
        self.position = position
        self.message = message
        super().__init__(f"at {position}: {message}")


class Leaf(NamedTuple):
    """One thing that a post has or has not."""

    kind: Kind
    value: str
    """Of `text` a pattern for `worker.trends.text.plain`; of the others the folded name."""


@dataclass(frozen=True, slots=True)
class Not:
    """The part does not hold."""

    part: Node


@dataclass(frozen=True, slots=True)
class And:
    """All parts hold."""

    parts: tuple[Node, ...]


@dataclass(frozen=True, slots=True)
class Or:
    """At least one part holds."""

    parts: tuple[Node, ...]


Node = Leaf | Not | And | Or


def holds(node: Node, found: Collection[Leaf]) -> bool:
    """Whether an expression holds for a post in which these leaves were found."""
    match node:
        case Leaf():
            return node in found
        case Not(part):
            return not holds(part, found)
        case And(parts):
            return all(holds(part, found) for part in parts)
        case Or(parts):
            return any(holds(part, found) for part in parts)


def leaves(node: Node) -> set[Leaf]:
    """All leaves of an expression."""
    match node:
        case Leaf():
            return {node}
        case Not(part):
            return leaves(part)
        case And(parts) | Or(parts):
            return {leaf for part in parts for leaf in leaves(part)}


def parse(expression: str) -> Node:
    """The tree of an expression.

    Raises:
        QuerySyntaxError: it is none, is too long, or holds for posts that have nothing that it names.
    """
    if len(expression) > LONGEST:
        raise QuerySyntaxError(LONGEST, f"longer than {LONGEST} characters")
    node = _Parser(expression.translate(_QUOTES)).whole()
    if len(leaves(node)) > MOST_LEAVES:
        raise QuerySyntaxError(len(expression), f"more than {MOST_LEAVES} different terms")
    if holds(node, ()):
        raise QuerySyntaxError(0, "holds for posts that have nothing of it: name more than what is NOT there")
    return node


class _Token(NamedTuple):
    kind: str
    text: str
    at: int


_LEXER = re.compile(
    r"""\s*(?:
        (?P<open>\() | (?P<close>\))
      | (?P<operator>(?:AND|OR|NOT)(?![^\s()"]))
      | (?P<minus>-(?=[^\s-]))
      | (?P<field>[A-Za-z]+):(?P<given>"[^"]*"|[^\s()"]+)
      | "(?P<phrase>[^"]*)"
      | (?P<quote>")
      | (?P<word>[^\s()"]+)
    )""",
    re.VERBOSE,
)
_QUOTES = dict.fromkeys(map(ord, "\u201c\u201d\u201e\u201f"), '"')
"""Typographic quotation marks, as text editors make them."""
_FIELDS: dict[str, Kind] = {"author": "author", "lang": "lang", "source": "source"}


class _Parser:
    """Recursive descent over the tokens of one expression."""

    def __init__(self, expression: str) -> None:
        self._expression = expression
        self._end = len(expression.rstrip())
        self._at = 0
        self._depth = 0
        self._next = self._read()

    def whole(self) -> Node:
        if self._look() is None:
            raise QuerySyntaxError(0, 'empty: name a word, a "phrase", a #hashtag, author:, lang: or source:')
        node = self._expression_of()
        left = self._look()
        if left is not None:
            raise QuerySyntaxError(left.at, "this bracket closes nothing")
        return node

    def _expression_of(self) -> Node:
        parts = [self._both()]
        while self._is("operator", "OR"):
            self._take()
            parts.append(self._both())
        return parts[0] if len(parts) == 1 else Or(tuple(parts))

    def _both(self) -> Node:
        parts = [self._one()]
        while self._next is not None and not self._is("operator", "OR") and self._next.kind != "close":
            if self._is("operator", "AND"):
                self._take()
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else And(tuple(parts))

    def _one(self) -> Node:
        token = self._take()
        if token.kind == "minus" or token == ("operator", "NOT", token.at):
            return self._deeper(token, lambda: Not(self._one()))
        if token.kind == "open":
            return self._deeper(token, lambda: self._closed(token))
        if token.kind in ("operator", "close"):
            raise QuerySyntaxError(token.at, f"expected a term, not {token.text}")
        return _leaf(token)

    def _closed(self, opened: _Token) -> Node:
        node = self._expression_of()
        if self._next is None:
            raise QuerySyntaxError(opened.at, "this bracket is never closed")
        self._take()
        return node

    def _deeper(self, token: _Token, parse: Callable[[], Node]) -> Node:
        self._depth += 1
        if self._depth > _DEEPEST:
            raise QuerySyntaxError(token.at, f"nested more than {_DEEPEST} deep")
        node = parse()
        self._depth -= 1
        return node

    def _look(self) -> _Token | None:
        return self._next

    def _is(self, kind: str, text: str) -> bool:
        return self._next is not None and self._next[:2] == (kind, text)

    def _take(self) -> _Token:
        token = self._next
        if token is None:
            raise QuerySyntaxError(self._end, "expected a term, not the end")
        self._next = self._read()
        return token

    def _read(self) -> _Token | None:
        if self._at >= self._end:
            return None
        found = _LEXER.match(self._expression, self._at)
        assert found is not None  # noqa: S101 - `word` takes whatever the others leave
        kind = str(found.lastgroup)
        at = found.start("field" if kind == "given" else kind) - (kind == "phrase")
        self._at = found.end()
        if kind == "quote":
            raise QuerySyntaxError(at, "this quotation mark is never closed")
        if kind == "given":
            return _Token(str(found["field"]).lower(), str(found["given"]), at)
        return _Token(kind, str(found[kind]), at)


def _leaf(token: _Token) -> Leaf:
    kind, text, at = token
    if kind not in ("word", "phrase"):
        return _field(token)
    open_end = kind == "word" and text.endswith("*")
    found = tokens(text.removesuffix("*") if open_end else text)
    if not found:
        raise QuerySyntaxError(at, f"{text!r} holds no letter, digit or emoji")
    if open_end and found[-1][0] in "#@":
        raise QuerySyntaxError(at, "* may only end a word, not a hashtag or a mention")
    if open_end and len(found[-1]) < 3:
        raise QuerySyntaxError(at, "at least three characters must stand before *")
    if "*" in text.strip("*"):
        raise QuerySyntaxError(at, "* may only end a word")
    if kind == "word" and not open_end and len(found) == 1 and found[0][0] in "#@" and len(found[0]) > 1:
        return Leaf("hashtag" if found[0][0] == "#" else "mention", found[0][1:])
    return Leaf("text", pattern(plain(found).split(), open_end=open_end))


def _field(token: _Token) -> Leaf:
    kind = _FIELDS.get(token.kind)
    if kind is None:
        raise QuerySyntaxError(
            token.at,
            f"{token.kind}: is none of author:, lang: and source:; quote a term that has a colon",
        )
    value = folded(token.text.strip('"').strip())
    if not value:
        raise QuerySyntaxError(token.at, f"{token.kind}: needs a value")
    return Leaf(kind, value)
