"""Labels and tracked queries to measure trends with, made from real posts. Pure, and the same every time."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

import msgspec

from worker.trends.terms import kind_of, terms_of
from worker.trends.text import tokens
from worker.types import LABELS, Label, Scores

SOURCES = ("tweets", "tweets", "tweets", "feedback", "forum", "support")
LANGS = ("en", "en", "en", "en", "de", "es", "fr", "pt-BR")
_WEIGHTS = (3, 2, 2, 2, 1, 1, 6)
"""How common each of `LABELS` is."""
_AUTHORS = 200_000
_BEHIND_S = 5.0
"""Posts reach their topic up to so long after they were written: times rise, but not strictly."""
_COMMONEST = 40
"""Words that no query asks for: half of all posts would match."""
_SHORT = 3
"""Characters; a shorter word cannot stand before a `*`."""


def labels(
    texts: Sequence[str], n: int, *, start: float, end: float, with_text: bool = True, seed: int = 1
) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of `n` records of the labels topic, as the worker writes them.

    `start` and `end` are epoch seconds between which the posts were written, evenly. Few authors write much
    and many little: the id is the product of two draws.
    """
    rng = random.Random(seed)  # noqa: S311 - not a secret
    encode = msgspec.json.Encoder().encode
    for number in range(n):
        written = start + (end - start) * number / n
        share = 0.1
        label = Label(
            id=number,
            source=rng.choice(SOURCES),
            label=rng.choices(LABELS, _WEIGHTS)[0],
            score=round(rng.uniform(0.3, 1.0), 6),
            scores=Scores(share, share, share, share, share, share),
            neutral=round(rng.random(), 6),
            model="bench@1",
            created_at=datetime.fromtimestamp(written - rng.random() * _BEHIND_S, UTC),
            labelled_at=datetime.fromtimestamp(written + 0.2, UTC),
            input=f"tweets/{number % 4}/{number // 4}",
            lang=rng.choice(LANGS),
            author_id=str(int(_AUTHORS * rng.random() * rng.random())),
            text=texts[number % len(texts)] if with_text else None,
        )
        yield str(number).encode(), encode(label)


def queries(texts: Sequence[str], n: int) -> dict[str, str]:
    """At most `n` queries for what the posts hold: words, hashtags, phrases, with AND, OR and NOT.

    Their words are spread evenly over the logarithm of the rank: some are common, most are rare.
    """
    common = Counter(term for text in texts for term in terms_of(tokens(text)))
    ranked = [term for term, _ in sorted(common.items(), key=lambda one: (-one[1], one[0]))]
    words = [term for term in ranked if kind_of(term) == "term" and term.isalpha()][_COMMONEST:]
    hashtags = [term for term in ranked if kind_of(term) == "hashtag"] or words
    made: dict[str, str] = {}
    total, rank = min(n, len(words) - 1), -1
    for number in range(total):
        wanted = int(len(words) ** ((number + 1) / total)) - 1
        rank = min(max(rank + 1, wanted), len(words) - 1 - (total - number))
        word, other, tag = words[rank], words[rank + 1], hashtags[rank % len(hashtags)]
        made[f"query {number}"] = (
            f"{word} OR {tag}",
            f'"{word} {other}" OR {tag}',
            f"{word} lang:en NOT {other}",
            f"({word} OR {other}) source:tweets",
            f"{word}* OR @{other}",
        )[number % 5 if len(word) > _SHORT else 0]
    return made
