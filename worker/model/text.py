"""Cleaning of a text before it is tokenised: the same in training and in serving.

A model has learnt from texts in one form, so the form belongs to the model: its manifest names the
version (`text_version`), and a change here is a new version beside the old one, never an edit.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from types import MappingProxyType

from worker.errors import ConfigurationError

MAX_CHARACTERS = 4096
"""What is looked at of a text, in characters. It bounds the time that one text can take: a text of
1 MB costs no more than one of 4 KB, of which the model reads the first 128 word pieces anyway."""

LATEST = 1

_ENTITY_PASSES = 4

_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);?)+")
_STRETCHED = re.compile(r"([aeiou])\1{3,}")
_URL = re.compile(r"https?://\S+|\bwww\.\S+")
_MENTION = re.compile(r"@\w+")


def normalise(text: str, version: int = LATEST) -> str:
    """Bring a text into the form that the model was trained on.

    Version 1, in this order: the first `MAX_CHARACTERS` are kept; halves of surrogate pairs that
    stand alone become U+FFFD; HTML entities are unescaped (`&amp;` reaches us from most exports);
    a small vowel repeated more than three times is cut to three; links become `http` and mentions
    `@user`, as in TweetEval (Barbieri et al. 2020, https://aclanthology.org/2020.findings-emnlp.148);
    white space is collapsed. Case, emoji and hashtags stay: the tokenizer decides about them.

    The result normalises to itself, and no text raises. A plain text takes about half a
    microsecond and a real tweet two: each step is guarded by a search that costs less than the
    step. (Only small vowels are shortened because looking for any stretched letter takes as long
    as all the rest; they make half of the 1% of tweets with such a word.)

    Args:
        text: Any text, of any length, the empty one included.
        version: The manifest's `text_version`.

    Raises:
        ConfigurationError: The version is unknown to this release.
    """
    return normaliser(version)(text)


def normaliser(version: int) -> Callable[[str], str]:
    """The function of one version, for loops that look it up once.

    Raises:
        ConfigurationError: The version is unknown to this release.
    """
    try:
        return VERSIONS[version]
    except KeyError:
        known = ", ".join(map(str, VERSIONS))
        raise ConfigurationError(
            [
                f"text_version {version} is unknown (this release knows {known}):"
                " update moodstream, or take a model that this release can serve"
            ]
        ) from None


def _version_1(text: str) -> str:
    if len(text) > MAX_CHARACTERS:
        text = text[:MAX_CHARACTERS]
    if not text.isascii():
        text = _without_lone_surrogates(text)
    if "&" in text:
        text = _unescape(text)
    text = _shorten(text)
    # A mention may have grown (`@a` to `@user`); what the second cut leaves normalises to itself.
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS].rstrip()


def _without_lone_surrogates(text: str) -> str:
    """Half a pair may stand alone in JSON, but has no UTF-8: the tokenizer would raise."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def _unescape(text: str) -> str:
    """Unescape until nothing changes: `&amp;lt;` is escaped twice in many feeds.

    Entities made to unfold into entities are cut short: after a few passes the ampersands go.
    """
    for _ in range(_ENTITY_PASSES):
        plain = _shorten(html.unescape(_AMPERSAND.sub("&", text)))
        if plain == text:
            return text
        text = plain
    return text.replace("&", " ")


def _shorten(text: str) -> str:
    """All that replaces by something shorter or fixed, in the one order that is idempotent."""
    if "oooo" in text or "aaaa" in text or "eeee" in text or "iiii" in text or "uuuu" in text:
        text = _STRETCHED.sub(r"\1\1\1", text)
    if "http" in text or "www." in text:
        text = _URL.sub("http", text)
    if "@" in text:
        text = _MENTION.sub("@user", text)
    text = text.strip()
    if "  " in text or not text.isprintable():
        text = " ".join(text.split())
    return text


VERSIONS: MappingProxyType[int, Callable[[str], str]] = MappingProxyType({1: _version_1})
"""Every version this release can serve."""
