"""Ways to disturb a text that leave its emotion as it is. Pure and deterministic.

Each function takes a text and a source of random numbers and gives the disturbed text, or None where there
is nothing to disturb. What is disturbed are words: links, @mentions and emoticons are left alone, except by
those whose business they are.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np

Perturbation = Callable[[str, np.random.Generator], str | None]

_TOKEN = re.compile(r"\S+")
_SPARED = re.compile(r"https?://|www\.|@", re.IGNORECASE)
_WORDLIKE = re.compile(r"[#\"'(]*[A-Za-z][\w'\u2019-]+\W*|[IAia]\W?")
_WORD = re.compile(r"(?<![\w@#/.:'\u2019-])[A-Za-z]{2,}(?![\w@/:'\u2019-]|\.\w)")
_MENTION = re.compile(r"(?<!\w)@\w+")
_URL = re.compile(r"https?://\S+|\bwww\.\S+")
_END = re.compile(r"[.!?](?=\W*$)")
_VOWEL = re.compile(r"[aeiouyAEIOUY]")
_NAMES = ("@nina_r", "@theo1988", "@mx_lee", "@olu", "@JoanaV")
_LINKS = ("https://example.org/a1B2c3", "http://example.com/x?id=7", "https://example.net/2024/05/post")
_SHORTEST = 4
"""Letters of a word that may lose or swap one."""


def perturbed(name: str, text: str, seed: int) -> str | None:
    """The text disturbed in one way of `PERTURBATIONS`; None where that changes nothing.

    The same name, text and seed give the same result, whatever else is asked for.
    """
    key = zlib.crc32(f"{name}\0{text}".encode("utf-8", "surrogatepass"))
    changed = PERTURBATIONS[name](text, np.random.default_rng([seed, key]))
    return None if changed == text else changed


def _upper(text: str, _: np.random.Generator) -> str:
    return _each_word(text, str.upper)


def _lower(text: str, _: np.random.Generator) -> str:
    return _each_word(text, str.lower)


def _title(text: str, _: np.random.Generator) -> str:
    return _each_word(text, lambda word: word[0].upper() + word[1:].lower())


def _each_word(text: str, change: Callable[[str], str]) -> str:
    def token(match: re.Match[str]) -> str:
        whole = match[0]
        return whole if _SPARED.search(whole) or not _WORDLIKE.fullmatch(whole) else change(whole)

    return _TOKEN.sub(token, text)


def _mention_added(text: str, rng: np.random.Generator) -> str:
    name = _one(_NAMES, rng)
    return f"{name} {text}" if rng.random() < 0.5 else f"{text} {name}"


def _mention_changed(text: str, rng: np.random.Generator) -> str | None:
    return _MENTION.sub(_one(_NAMES, rng), text) if _MENTION.search(text) else None


def _url_added(text: str, rng: np.random.Generator) -> str:
    return f"{text} {_one(_LINKS, rng)}"


def _url_changed(text: str, rng: np.random.Generator) -> str | None:
    return _URL.sub(_one(_LINKS, rng), text) if _URL.search(text) else None


def _letters_swapped(text: str, rng: np.random.Generator) -> str | None:
    """Two adjacent, different inner letters of a word: the first and the last stay."""
    places = [
        place
        for match in _words(text, _SHORTEST)
        for place in range(match.start() + 1, match.end() - 2)
        if text[place] != text[place + 1]
    ]
    if not places:
        return None
    at = places[rng.integers(len(places))]
    return text[:at] + text[at + 1] + text[at] + text[at + 2 :]


def _letter_dropped(text: str, rng: np.random.Generator) -> str | None:
    """One inner letter of a word."""
    places = [
        place for match in _words(text, _SHORTEST) for place in range(match.start() + 1, match.end() - 1)
    ]
    if not places:
        return None
    at = places[rng.integers(len(places))]
    return text[:at] + text[at + 1 :]


def _elongated(text: str, rng: np.random.Generator) -> str | None:
    """The last vowel of a word three to six times: sooo, happyyyy."""
    places = [
        match.start() + max(vowel.start() for vowel in _VOWEL.finditer(match[0]))
        for match in _words(text, 2)
        if _VOWEL.search(match[0])
    ]
    if not places:
        return None
    at = places[rng.integers(len(places))]
    return text[:at] + text[at] * int(rng.integers(3, 7)) + text[at + 1 :]


def _punctuation_repeated(text: str, rng: np.random.Generator) -> str | None:
    """The mark that ends the text three to five times."""
    end = _END.search(_URL.sub(lambda link: "x" * len(link[0]), text))
    if end is None:
        return None
    return text[: end.start()] + end[0] * int(rng.integers(3, 6)) + text[end.end() :]


def _space_trailing(text: str, rng: np.random.Generator) -> str:
    return text + _one((" ", "   ", "\n", " \t ", " \r\n"), rng)


def _hashtag_set(text: str, rng: np.random.Generator) -> str | None:
    words = _words(text, _SHORTEST)
    if not words:
        return None
    at = words[rng.integers(len(words))].start()
    return f"{text[:at]}#{text[at:]}"


def _words(text: str, shortest: int) -> list[re.Match[str]]:
    """The words of at least so many letters that are no link, mention, hashtag or part of another word."""
    spared = [match.span() for match in _URL.finditer(text)]
    return [
        match
        for match in _WORD.finditer(text)
        if len(match[0]) >= shortest and not any(a <= match.start() < b for a, b in spared)
    ]


def _one(values: tuple[str, ...], rng: np.random.Generator) -> str:
    return values[rng.integers(len(values))]


PERTURBATIONS: Mapping[str, Perturbation] = MappingProxyType(
    {
        "upper case": _upper,
        "lower case": _lower,
        "title case": _title,
        "mention added": _mention_added,
        "mention changed": _mention_changed,
        "link added": _url_added,
        "link changed": _url_changed,
        "letters swapped": _letters_swapped,
        "letter dropped": _letter_dropped,
        "vowel elongated": _elongated,
        "punctuation repeated": _punctuation_repeated,
        "trailing white space": _space_trailing,
        "hashtag set": _hashtag_set,
    }
)
