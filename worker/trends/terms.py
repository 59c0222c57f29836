"""Which words, hashtags and emoji stand out: what a post contributes, and how that is ranked. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple

TermKind = Literal["term", "hashtag", "emoji"]
TERM_KINDS: tuple[TermKind, ...] = ("term", "hashtag", "emoji")

MOST_TERMS = 40
"""Different terms that one post contributes: its first ones. A tweet has about ten."""
LONGEST_TERM = 40
"""Characters; longer ones are noise, and would let one producer fill the store."""
LEAST_POSTS = 2
"""What stands in a single post is no trend."""
PRIOR = 5.0
"""Posts that every term is thought to have had besides, as many as expected; see `lift`."""

_STOP_WORDS = frozenset(
    """
    a about above after again against ain all also am amp an and any are aren as at b be because been
    before being below between both but by c can cannot could couldn d did didn do does doesn doing don
    down during e each either else ever every f few for from further g get gets getting go goes going
    gonna got gotta h had hadn has hasn have haven having he her here hers herself him himself his how
    http https i if im in into is isn it its itself ive j just k l let like ll m ma make makes many may
    me might mightn more most much must mustn my myself n need needn never no nor not now o of off on
    once one only or other our ours ourselves out over own p per q r re really rt s said same say says
    see shall shan she should shouldn since so some still such t than that the their theirs them
    themselves then there these they thing things this those though through to too u under until up upon
    ur us v ve very via w want was wasn way we well were weren what when where whether which while who
    whom whose why will with within without won would wouldn www x y yet you your yours yourself
    yourselves z
    """.split()  # noqa: SIM905 - ten lines instead of two hundred
)
"""English words that carry no topic, what apostrophes leave of them, and the leavings of links and markup."""


class Term(NamedTuple):
    """A word, hashtag or emoji that stands out in one emotion."""

    term: str
    n: int
    """Posts of the emotion that hold it."""
    lift: float
    """How many times as often as in posts of all emotions; see `lift`."""


def terms_of(tokens: Iterable[str]) -> tuple[str, ...]:
    """What a post with these tokens (of `worker.trends.text`) contributes: each term once, in its order."""
    found: dict[str, None] = {}
    for token in tokens:
        if is_term(token):
            found[token] = None
            if len(found) == MOST_TERMS:
                break
    return tuple(found)


def is_term(token: str) -> bool:
    """Whether a token is worth counting."""
    return not (
        token in _STOP_WORDS
        or token[0] == "@"
        or len(token) > LONGEST_TERM
        or token.isdecimal()
        or "://" in token
    )


def kind_of(term: str) -> TermKind:
    """What kind of term it is."""
    first = term[0]
    if first == "#":
        return "hashtag"
    return "term" if first.isalnum() or first == "_" else "emoji"


def lift(n: int, posts: int, background: int, background_posts: int) -> float:
    """How much more often a term is in some posts than in all, drawn towards 1 where little is known.

    With `expected = posts * background / background_posts` it is `(n + k) / (expected + k)`: the posterior
    mean of the ratio of a Poisson count to its expectation under a Gamma(k, k) prior, whose mean is 1
    (DuMouchel 1999, "Bayesian data mining in large frequency tables", with one component). `k` is `PRIOR`.
    Without the prior it is the lift of association rules, which ranks what was seen once above all else.
    """
    expected = posts * background / background_posts
    return (n + PRIOR) / (expected + PRIOR)


class TermCounts(NamedTuple):
    """How many posts hold which term."""

    counts: Mapping[str, int]
    posts: int
    """All that hold any term."""


def ranked(of: TermCounts, background: TermCounts, kind: TermKind, limit: int) -> list[Term]:
    """The terms of one kind that stand out most: by lift, then by count, then by name.

    `of` counts one emotion, the background all of them, that one included.
    """
    found = [
        Term(term, n, lift(n, of.posts, background.counts[term], background.posts))
        for term, n in of.counts.items()
        if n >= LEAST_POSTS and kind_of(term) == kind
    ]
    found = [term for term in found if term.lift > 1]
    found.sort(key=lambda term: (-term.lift, -term.n, term.term))
    return found[:limit]
