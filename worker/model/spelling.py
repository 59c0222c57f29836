"""Typing errors put right, word by word: `awseome`, `happpy`, `definitly`, `soooo`.

A word that is cut into odd pieces is one that a model has never read, and a mistyped word is often the very
one that says how somebody feels. What is put right is little and certain: a word that no list knows, one slip
away (two letters swapped, one left out, one typed twice, one held) from a common word with the same first and
last letter. Names, slang and whatever else has no such neighbour stay as they are.

The words are in `spelling.tsv`, made by `python -m training.wordlist`: common words with their count, and
words that are right and would be taken for a slip without being listed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from worker.model.recent import Recent

SHORTEST = 4
"""Letters of a word that is looked at. Shorter ones have too many neighbours."""
LONGEST = 24
"""Letters; longer ones are no words. It bounds the time that one can take."""
_SHORT, _OFTEN = 6, 100
"""A word of so few letters has many neighbours, names above all: what was meant must be very common."""

_CORE = re.compile(r"([^A-Za-z]*)([A-Za-z]+)([^A-Za-z]*)")
_HELD = re.compile(r"([a-z])\1{2,}")
_PAIR = re.compile(r"([a-z])\1")
_REMEMBERED = 1 << 18
"""Words: 38,000 tweets hold 94,000 different ones with the marks around them. About 20 MB when full."""


class Words(NamedTuple):
    """What the list knows."""

    common: Mapping[str, int]
    """How often a word was counted."""
    right: frozenset[str]
    """Right, though they look like a slip."""
    shortened: Mapping[str, str]
    """The most common word that becomes this one when an inner letter is left out."""
    reordered: Mapping[str, Sequence[str]]
    """The trusted words of the same `_letters`."""

    def trusted(self, word: str) -> bool:
        """Whether a slip may be put right to this word."""
        count = self.common.get(word, 0)
        return count > 0 if len(word) > _SHORT else count >= _OFTEN


def words_of(counts: Mapping[str, int], right: frozenset[str] = frozenset()) -> Words:
    """The list with its index, from counts of common words."""
    words = Words(counts, right, {}, {})
    shortened: dict[str, str] = {}
    reordered: dict[str, list[str]] = {}
    for word in filter(words.trusted, counts):
        reordered.setdefault(_letters(word), []).append(word)
        for at in range(1, len(word) - 1):
            short = word[:at] + word[at + 1 :]
            if counts[word] > counts.get(shortened.get(short, ""), 0):
                shortened[short] = word
    return words._replace(shortened=shortened, reordered=reordered)


@cache
def bundled_words() -> Words:
    """The list beside this file; read once."""
    table = files("worker.model").joinpath("spelling.tsv").read_text(encoding="utf-8")
    rows = [line.partition("\t") for line in table.split("\n") if line and not line.startswith("#")]
    common = {word: int(count) for word, _, count in rows if count}
    return words_of(common, frozenset(word for word, _, count in rows if not count))


def corrected(word: str, words: Words) -> str:
    """A word of lower-case letters as it was probably meant; itself where that is not plain.

    What comes out stays as it is when it is asked about again.
    """
    if not SHORTEST <= len(word) <= LONGEST:
        return word
    if _HELD.search(word):
        word = _released(word, words)
    if word in words.common or word in words.right or len(word) < SHORTEST:
        return word
    return max(_meant(word, words), key=lambda found: (words.common[found], found), default=word)


class Speller:
    """Puts the words of texts right."""

    def __init__(self, words: Words) -> None:
        self._words = words
        self._met: Recent[str] = Recent(_REMEMBERED)

    def __call__(self, text: str) -> str:
        """A text whose words are separated by single blanks, with its typing errors put right."""
        pieces = text.split(" ")
        met = self._met.young
        if not all(map(met.__contains__, pieces)):
            for piece in self._met.promote({piece for piece in pieces if piece not in met}):
                met[piece] = self.put_right(piece)
        right = " ".join(map(met.__getitem__, pieces))
        self._met.age()
        return right

    def put_right(self, piece: str) -> str:
        """A word with the marks around it; mentions, and words with marks or digits inside, stay."""
        match = _CORE.fullmatch(piece)
        if match is None or match[1].endswith("@"):
            return piece
        before, core, after = match.groups()
        lower = core.lower()
        meant = corrected(lower, self._words)
        if meant == lower:
            return piece
        return before + (meant.upper() if core.isupper() else _as(core, meant)) + after


def _as(core: str, meant: str) -> str:
    return meant.capitalize() if core[0].isupper() else meant


def _released(word: str, words: Words) -> str:
    """Held letters once or twice, whichever the list knows; twice where it knows neither."""
    twice, once = _HELD.sub(r"\1\1", word), _HELD.sub(r"\1", word)
    return max((twice, once), key=lambda found: words.common.get(found, 0))


def _meant(word: str, words: Words) -> Iterator[str]:
    """The common words that are one slip away."""
    longer = words.shortened.get(word)
    if longer is not None:
        yield longer
    for found in words.reordered.get(_letters(word), ()):
        if _swapped(word, found):
            yield found
    if _PAIR.search(word):
        for at in range(1, len(word)):
            if word[at] == word[at - 1] and words.trusted(single := word[:at] + word[at + 1 :]):
                yield single


def _letters(word: str) -> str:
    """What two words have in common of which one is the other with inner letters in another order."""
    return word[0] + "".join(sorted(word[1:-1])) + word[-1]


def _swapped(word: str, other: str) -> bool:
    """Whether words of the same letters differ by two neighbours that changed places."""
    apart = [at for at, letter in enumerate(word) if letter != other[at]]
    return len(apart) == 2 and apart[1] == apart[0] + 1
