"""Labels of some simulated days, and what counting them must give.

The expected counts are made here from the plain rows, with dictionaries and sets: nothing of `worker.trends`
but the cutting of a text into terms, which is not what is proven.
"""

from __future__ import annotations

import json
import random
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple

from worker.trends.terms import terms_of
from worker.trends.text import tokens
from worker.types import EMOTIONS, LABELS

DAYS = 3
LATE_S, EARLY_S = 48 * 3600, 24 * 3600
SOURCES = ("tweets", "tweets", "tweets", "feedback", "forum")
LANGS = ("en", "en", "en", "en", "de", "es", None)
SPANS = {"minute": 60, "hour": 3600, "day": 86_400}
QUERIES: dict[str, Callable[[set[str], Row], bool]] = {}
"""Expression -> the same by hand, over the lower-case words of a text and its row."""


class Row(NamedTuple):
    """One label."""

    key: str
    emotion: str
    source: str
    lang: str | None
    author: str
    score: int
    """In millionths."""
    created: float
    labelled: float
    text: str


QUERIES.update(
    {
        "love": lambda words, row: "love" in words,
        "happy OR sad": lambda words, row: bool(words & {"happy", "sad"}),
        "today lang:en NOT love": lambda words, row: (
            "today" in words and row.lang == "en" and "love" not in words
        ),
        "(good OR bad) source:forum": lambda words, row: (
            bool(words & {"good", "bad"}) and row.source == "forum"
        ),
        "author:a7": lambda words, row: row.author == "a7",
    }
)


@dataclass
class Expected:
    """The counts, by hand. A place is (kind, name): ("all", ""), ("source", "forum"), ..."""

    counts: dict[tuple[str, str, str], Counter[tuple[int, str]]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    """By span, kind and name: (start, emotion) -> labels."""
    scores: dict[tuple[str, str, str], Counter[tuple[int, str]]] = field(
        default_factory=lambda: defaultdict(Counter)
    )
    authors: dict[tuple[str, str, str, int], set[str]] = field(default_factory=lambda: defaultdict(set))
    """By span (hour or day), kind, name, start."""
    posts: dict[tuple[str, int], Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    """By span and start: emotion -> posts with any term."""
    terms: dict[tuple[str, int], dict[str, Counter[str]]] = field(
        default_factory=lambda: defaultdict(lambda: defaultdict(Counter))
    )
    late: int = 0
    early: int = 0
    n: int = 0

    def add(self, row: Row) -> None:
        """Count one label."""
        if row.labelled - row.created > LATE_S:
            self.late += 1
            return
        if row.created - row.labelled > EARLY_S:
            self.early += 1
            return
        self.n += 1
        words = set(_WORD.findall(unicodedata.normalize("NFKC", row.text).casefold()))
        places = [("all", ""), ("source", row.source)]
        if row.lang is not None:
            places.append(("lang", row.lang))
        places += [("query", query) for query, holds in QUERIES.items() if holds(words, row)]
        for span, seconds in SPANS.items():
            start = int(row.created // seconds) * seconds
            for kind, name in places:
                self.counts[span, kind, name][start, row.emotion] += 1
                self.scores[span, kind, name][start, row.emotion] += row.score
                if span != "minute":
                    self.authors[span, kind, name, start].add(row.author)
            if span != "minute":
                found = terms_of(tokens(row.text))
                if found:
                    self.posts[span, start][row.emotion] += 1
                    self.terms[span, start][row.emotion].update(found)


_WORD = re.compile(r"\w+")


def rows(texts: Sequence[str], n: int, *, end: float, seed: int) -> Iterator[Row]:
    """`n` labels of the `DAYS` before `end`, in the order in which they are labelled.

    Of a hundred, three were written up to two days before, within what is counted; one is later than that;
    one says that it was written in the hour to come; one in two hundred is further ahead than is counted.
    Some authors write much. The emotion has to do with the words, so that terms stand out.
    """
    rng = random.Random(seed)
    for number in range(n):
        labelled = end - DAYS * 86_400 * (1 - (number + 1) / n)
        created, draw = labelled - rng.random() * 20, rng.random()
        if draw < 0.03:
            created = labelled - rng.random() * LATE_S
        elif draw < 0.04:
            created = labelled - LATE_S - 1 - rng.random() * 5 * 86_400
        elif draw < 0.05:
            created = labelled + rng.random() * 3600
        elif draw < 0.055:
            created = labelled + EARLY_S + 1 + rng.random() * 86_400
        text = rng.choice(texts)
        of_text = LABELS[hash_of(text) % len(LABELS)]
        yield Row(
            key=f"k{number}",
            emotion=of_text if rng.random() < 0.6 else rng.choice(LABELS),
            source=rng.choice(SOURCES),
            lang=rng.choice(LANGS),
            author=f"a{int(n / 4 * rng.random() * rng.random())}",
            score=rng.randrange(200_000, 1_000_001),
            created=round(created, 3),
            labelled=round(labelled, 3),
            text=text,
        )


def hash_of(text: str) -> int:
    """The same in every process: of the longest word, so that words go with emotions."""
    longest = max(_WORD.findall(text.lower()) or [""], key=len)
    return sum(longest.encode())


def message(row: Row, number: int) -> bytes:
    """As the worker writes it."""
    said = {
        "id": number,
        "source": row.source,
        "label": row.emotion,
        "score": row.score / 1e6,
        "scores": dict.fromkeys(EMOTIONS, 0.1),
        "neutral": 0.1,
        "model": "proof@1",
        "created_at": datetime.fromtimestamp(row.created, UTC).isoformat(),
        "labelled_at": datetime.fromtimestamp(row.labelled, UTC).isoformat(),
        "input": f"tweets/0/{number}",
        "author_id": row.author,
        "text": row.text,
    }
    if row.lang is not None:
        said["lang"] = row.lang
    return json.dumps(said).encode()
