"""How a model's labels are spread: how sure they are, and how long and in which language their posts. Pure.

A model and what it reads are told from a mood by these: a mood moves how many labels of each emotion there
are, a drift how the labels of each emotion look. So everything is counted within the emotion that was
given. The bins are the same wherever they are counted, live in Redis and on validation texts in an artefact.
"""

from __future__ import annotations

from bisect import bisect_right
from typing import Literal

from worker.types import LABELS

Measure = Literal["confidence", "length", "language"]
MEASURES: tuple[Measure, ...] = ("confidence", "length", "language")

CONFIDENCE_EDGES = (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 0.975, 0.99)
"""Upper ends of the bins of `score` but the last; narrower where most labels are."""
LENGTH_EDGES = (20, 40, 70, 100, 140, 200, 280)
"""The same of a text's characters."""
LANGUAGES = ("en", "es", "pt", "fr", "de", "it", "nl", "ja", "ko", "zh", "ar", "hi", "id", "tr", "ru")
"""Those with a bin of their own; all others share one, and posts that name none another."""

_LENGTH_AT = len(CONFIDENCE_EDGES) + 1
_LANGUAGE_AT = _LENGTH_AT + len(LENGTH_EDGES) + 1
WIDTH = _LANGUAGE_AT + len(LANGUAGES) + 2
"""Columns of all bins side by side."""
COLUMNS: dict[Measure, slice] = {
    "confidence": slice(0, _LENGTH_AT),
    "length": slice(_LENGTH_AT, _LANGUAGE_AT),
    "language": slice(_LANGUAGE_AT, WIDTH),
}
"""Where the bins of each measure are."""
SHAPE = (len(LABELS), WIDTH)
"""Of an array of counts: labels (in the order of `LABELS`) by columns."""

_NAMED = {name: _LANGUAGE_AT + number for number, name in enumerate(LANGUAGES)}
_OTHER_LANGUAGE, _NO_LANGUAGE = WIDTH - 2, WIDTH - 1


def confidence_column(score: float) -> int:
    """The column of a label's probability, 0 to 1."""
    return bisect_right(CONFIDENCE_EDGES, score)


def length_column(characters: int) -> int:
    """The column of a text of so many characters."""
    return _LENGTH_AT + bisect_right(LENGTH_EDGES, characters)


def language_column(lang: str | None) -> int:
    """The column of a language tag; `pt-BR` is `pt`."""
    if not lang:
        return _NO_LANGUAGE
    found = _NAMED.get(lang)
    if found is None:
        found = _NAMED.get(lang.replace("_", "-").partition("-")[0].lower(), _OTHER_LANGUAGE)
    return found
