"""Texts as people type them: the same words with typos, shouting, mentions, links and marks.

dair-ai/emotion is lower-case words without a single mark, GoEmotions is Reddit prose; posts are neither.
Training on a changed copy with the same target teaches that none of this changes an emotion.
"""

from __future__ import annotations

import random
from collections.abc import Callable

Change = Callable[[str, random.Random], str]

_SHORTEST = 4
"""Letters of a word that may get a typo: shorter ones become other words."""
_KEPT = ("@user", "http")
"""What normalisation writes for mentions and links."""
_CLOSINGS = ("!", "!!", "!!!", "...", "..", ".", "?!")


def augment(text: str, rng: random.Random) -> str:
    """A text with one or two of the changes below, drawn from `rng`; it never becomes empty."""
    changed = text
    for _ in range(rng.choice((1, 1, 2))):
        changed = rng.choice(CHANGES)(changed, rng)
    return changed if changed.strip() else text


def swap_letters(text: str, rng: random.Random) -> str:
    """Two neighbouring letters inside a word change places."""

    def swap(word: str) -> str:
        at = rng.randrange(1, len(word) - 2)
        return word[:at] + word[at + 1] + word[at] + word[at + 2 :]

    return _change_word(text, rng, swap)


def drop_letter(text: str, rng: random.Random) -> str:
    """A letter inside a word is missing."""

    def drop(word: str) -> str:
        at = rng.randrange(1, len(word) - 1)
        return word[:at] + word[at + 1 :]

    return _change_word(text, rng, drop)


def double_letter(text: str, rng: random.Random) -> str:
    """A letter of a word is typed twice."""

    def double(word: str) -> str:
        at = rng.randrange(len(word))
        return word[:at] + word[at] + word[at:]

    return _change_word(text, rng, double)


def stretch(text: str, rng: random.Random) -> str:
    """A letter of a word is held, as in `sooo`: three of it, which is what normalisation leaves."""

    def hold(word: str) -> str:
        vowels = [at for at, letter in enumerate(word) if letter in "aeiouy"] or [len(word) - 1]
        at = rng.choice(vowels)
        return word[:at] + word[at] * 3 + word[at + 1 :]

    return _change_word(text, rng, hold, shortest=2)


def mention(text: str, rng: random.Random) -> str:
    """Somebody is addressed, before or after."""
    return f"@user {text}" if rng.random() < 0.7 else f"{text} @user"


def link(text: str, _: random.Random) -> str:
    """A link follows."""
    return f"{text} http"


def hashtag(text: str, rng: random.Random) -> str:
    """A word gets a hash mark."""
    return _change_word(text, rng, lambda word: f"#{word}")


def shout(text: str, _: random.Random) -> str:
    """Capitals throughout; only a cased base sees it."""
    return " ".join(word if word in _KEPT else word.upper() for word in text.split(" "))


def end(text: str, rng: random.Random) -> str:
    """Another mark at the end."""
    return text.rstrip(".!? ") + rng.choice(_CLOSINGS)


def unmark(text: str, _: random.Random) -> str:
    """Lower case without marks, apostrophes among them: `i m`, as dair-ai/emotion writes, is `im` here."""
    kept = "".join(letter for letter in text.lower() if letter.isalnum() or letter in " @#'")
    return " ".join(kept.replace("'", "").split())


CHANGES: tuple[Change, ...] = (
    *(swap_letters, drop_letter, double_letter, stretch),
    *(mention, link, hashtag, shout, end, unmark),
)


def _change_word(
    text: str, rng: random.Random, change: Callable[[str], str], shortest: int = _SHORTEST
) -> str:
    words = text.split(" ")
    places = [at for at, word in enumerate(words) if len(word) >= shortest and word.isalpha()]
    if not places:
        return text
    at = rng.choice(places)
    words[at] = change(words[at])
    return " ".join(words)
