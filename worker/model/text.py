"""Cleaning of a text before it is tokenised: the same in training and in serving.

A model has learnt from texts in one form, so the form belongs to the model: its manifest names the
version (`text_version`), and a change here is a new version beside the old one, never an edit.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import cache, partial
from importlib.resources import files
from types import MappingProxyType
from typing import Final

from worker.errors import ConfigurationError
from worker.model.spelling import Speller, bundled_words

MAX_CHARACTERS = 4096
"""What is looked at of a text, in characters. It bounds the time that one text can take: a text of
1 MB costs no more than one of 4 KB, of which the model reads the first 128 word pieces anyway."""

LATEST = 3

_ENTITY_PASSES = 4

_AMPERSAND = re.compile(r"&(?:(?:amp|AMP|#0*38|#[xX]0*26);?)+")
_STRETCHED = re.compile(r"([aeiou])\1{3,}")
_URL = re.compile(r"https?://\S+|\bwww\.\S+")
_MENTION = re.compile(r"@\w+")


def normalise(text: str, version: int = LATEST) -> str:
    """Bring a text into the form that the model was trained on.

    Version 0 is the text as it comes, for models that others trained on raw texts: the first
    `MAX_CHARACTERS` are kept, and halves of surrogate pairs that stand alone become U+FFFD, because
    no tokenizer takes them. White space and case are left to the tokenizer.

    Version 1, in this order: the first `MAX_CHARACTERS` are kept; halves of surrogate pairs that
    stand alone become U+FFFD; HTML entities are unescaped (`&amp;` reaches us from most exports);
    a small vowel repeated more than three times is cut to three; links become `http` and mentions
    `@user`, as in TweetEval (Barbieri et al. 2020, https://aclanthology.org/2020.findings-emnlp.148);
    white space is collapsed. Case, emoji and hashtags stay: the tokenizer decides about them.

    Version 2 goes on from there: an emoji becomes its name (`face with tears of joy`), however often it
    is repeated and whatever its skin or sex; so do the commonest emoticons; and a hashtag in camel case
    is cut into its words. Most vocabularies know no emoji: to such a model 😂 and 😭 were one unknown
    token, and a post that says how it feels by these alone said nothing.

    Version 3 puts typing errors right where they are plain (`worker.model.spelling`): `happpy`, `awsome`,
    `soooo`. A mistyped word is cut into pieces that no model has read together, and nine of ten texts kept
    their label under one swapped pair of letters; with this, 97 of 100 do.

    With each the result normalises to itself, and no text raises. A plain text takes about half a
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


def steps(version: int) -> tuple[Callable[[str], str], Callable[[str], str] | None]:
    """The function of one version in two: what is done to a text, and what then to each of its words.

    For tokenizers that remember words, so that each is looked at once: the words are those between white
    space, and one may become several, with a space between them, or none. None where nothing is done to them.
    From version 1 on hardly anything is done to a text: no pattern here reaches across white space, so
    what `normaliser` does to a text it does to each word alone. The two together give what `normaliser`
    gives, but for the end of a text that grows over `MAX_CHARACTERS` only in its words.

    Raises:
        ConfigurationError: The version is unknown to this release.
    """
    whole = normaliser(version)
    if version == 0:
        return whole, None
    if version == 3:
        put_right = _speller().put_right

        def word(word: str) -> str:
            changed = _version_2(word)
            return put_right(changed) if " " not in changed else " ".join(map(put_right, changed.split(" ")))

        return partial(_of_the_text, _version_2), word
    return partial(_of_the_text, whole), whole


_SHORT = MAX_CHARACTERS // 4
"""Characters of a text that no replacement of version 1 makes longer than `MAX_CHARACTERS`."""


def _of_the_text(whole: Callable[[str], str], text: str) -> str:
    """What must be done to a text before its words are looked at one by one.

    Links and mentions hardly come twice, so that they would fill the memory for words: they go here. Where
    entities are unfolded, or something may be cut off, the text counts as a whole.
    """
    if len(text) > _SHORT:
        return whole(text)
    if "&" in text:
        return _unescape(text)
    if "http" in text or "www." in text:
        text = _URL.sub("http", text)
    if "@" in text:
        text = _MENTION.sub("@user", text)
    return text if text.isprintable() else " ".join(text.split())


def _version_0(text: str) -> str:
    text = text[:MAX_CHARACTERS]
    return text if text.isascii() else _without_lone_surrogates(text)


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


def _version_2(text: str) -> str:
    text = _version_1(text)
    plain = text
    if not text.isascii():
        plain = _EMOJI.sub(_emoji_name, plain)
    if ":" in text or "<" in text or "=" in text or ";" in text:
        plain = _EMOTICON.sub(_emoticon_name, plain)
    if "#" in text:
        plain = _HASHTAG.sub(_hashtag_words, plain)
    if plain == text:
        return text
    return " ".join(plain.split())[:MAX_CHARACTERS].rstrip()


def _version_3(text: str) -> str:
    text = _speller()(_version_2(text))
    # Letters were put back: a word that would be cut in two goes as a whole, or it would be another word.
    return text if len(text) <= MAX_CHARACTERS else text[:MAX_CHARACTERS].rpartition(" ")[0]


@cache
def _speller() -> Speller:
    """Made when the first text of version 3 comes: models of older versions need no list of words."""
    return Speller(bundled_words())


def _emoji_names() -> dict[str, str]:
    """Name by emoji, from the table beside this file."""
    table = files("worker.model").joinpath("emoji.tsv").read_text(encoding="utf-8")
    lines = (line for line in table.split("\n") if line and not line.startswith("#"))
    return dict(line.split("\t") for line in lines)


_NAMES: Final = _emoji_names()
_MODIFIERS = "[\ufe0e\ufe0f\u200d\U0001f3fb-\U0001f3ff]*"
"""What follows an emoji and changes its look alone: presentation, joiner, skin."""
# The ranges that hold every emoji: a class of their 1,400 characters takes ten times as long to search.
_EMOJI = re.compile(
    f"([\u203c-\u2bff\u3030\u303d\u3297\u3299\U0001f004-\U0001faff]){_MODIFIERS}(?:\\1{_MODIFIERS})*"
)
_EMOTICONS: Final = {
    **dict.fromkeys((":)", ":-)", "=)", "(:"), "smiling face"),
    **dict.fromkeys((":(", ":-(", "=("), "frowning face"),
    **dict.fromkeys((";)", ";-)"), "winking face"),
    **dict.fromkeys((":D", ":-D", "=D"), "grinning face"),
    **dict.fromkeys((":P", ":-P", ":p", ":-p"), "face with tongue"),
    **dict.fromkeys((":'(", ":'-("), "crying face"),
    **{"<3": "red heart", "</3": "broken heart"},
}
_EMOTICON = re.compile(
    "|".join(
        # One that ends in a letter or digit is one only where no word goes on.
        re.escape(one) + (r"(?!\w)" if one[-1].isalnum() else "")
        for one in sorted(_EMOTICONS, key=len, reverse=True)
    )
)
_HASHTAG = re.compile(r"#\w+")
_CAMEL = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")


def _emoji_name(match: re.Match[str]) -> str:
    name = _NAMES.get(match[1])
    return match[0] if name is None else f" {name} "


def _emoticon_name(match: re.Match[str]) -> str:
    return f" {_EMOTICONS[match[0]]} "


def _hashtag_words(match: re.Match[str]) -> str:
    return _CAMEL.sub(" ", match[0])


VERSIONS: MappingProxyType[int, Callable[[str], str]] = MappingProxyType(
    {0: _version_0, 1: _version_1, 2: _version_2, 3: _version_3}
)
"""Every version this release can serve."""
