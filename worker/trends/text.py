"""Text to tokens, for top terms and tracked queries alike. Pure functions.

A token is a word (letters, digits and underscores of any script), a hashtag with its `#`, a mention with its
`@`, one whole emoji, or a link. Case, width and compatibility forms are folded, skin tones and the wish for a
coloured picture are dropped, so that 👍🏽 is 👍. An apostrophe ends a word: `don't` is `don` and `t`, and
`trump's` holds `trump`.
"""

from __future__ import annotations

import re
import unicodedata

_PICTURE = (
    "[\u00a9\u00ae\u203c\u2049\u2122\u2139\u2194-\u21aa\u231a-\u23ff\u24c2\u25aa-\u27bf\u2934\u2935"
    "\u2b05-\u2b55\u3030\u303d\u3297\u3299\U0001f004\U0001f0cf\U0001f170-\U0001f251\U0001f300-\U0001faff]"
)
_KEYCAP = "[0-9]\u20e3"
_EMOJI = rf"[\U0001f1e6-\U0001f1ff]{{2}}|{_PICTURE}(?:\u200d{_PICTURE})*"
"""Flags, pictures joined to one: Unicode Technical Standard 51; modifiers are dropped before."""

_EDGES = r"[\x00-\"$-/:-?\[-^`{-\x7f\u2018-\u201f\u2026]*+"
"""The commonest of what no token begins with, stepped over at once: quicker than to try every kind."""
_TOKEN = re.compile(rf"{_EDGES}(https?://\S+|{_KEYCAP}|\w+|(?<!\w)#\w*[^\W\d_]\w*|(?<!\w)@\w+|{_EMOJI})")
_WORD = re.compile(r"\w+")
_DROPPED = re.compile("[\ufe0e\ufe0f\U0001f3fb-\U0001f3ff]")
"""Variation selectors and skin tones."""

_IN_ASCII = bytes(
    ord(chr(code).lower()) if chr(code).isalnum() or chr(code) in "_#@" else ord(" ") for code in range(128)
).ljust(256, b" ")
"""What an ASCII character becomes: a word's, folded; a mark; or a space."""
_NO_HASHTAG = re.compile("#[0-9_]")
"""Where it may be none: one needs a letter."""

_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u30ff\u31f0-\u31ff\u3400-\u9fff\uf900-\ufaff"
    "\U00020000-\U0003ffff]"
)
"""Scripts that put no spaces between words: Thai, Lao, Burmese, Khmer, kana and Chinese characters."""


def folded(text: str) -> str:
    """Case, compatibility forms and variants of emoji folded (Unicode's NFKC and full case folding)."""
    if text.isascii():
        return text.lower()
    return _DROPPED.sub("", unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", text).casefold()))


def tokens(text: str) -> list[str]:
    """The tokens of a text, in its order, folded."""
    if text.isascii() and "://" not in text:
        row = text.encode().translate(_IN_ASCII).decode()
        if "#" not in row and "@" not in row:
            return row.split()
        row = _without_lone_marks(row)
        if not _has_odd_marks(row):
            return row.split()
    return _TOKEN.findall(folded(text))


def _without_lone_marks(row: str) -> str:
    return f" {row} ".replace("# ", " ").replace("@ ", " ")


def _has_odd_marks(row: str) -> bool:
    """Whether a `#` or `@` in it does not begin a hashtag or mention that is there between spaces."""
    return (
        "@" in row.replace(" @", "")  # quicker than to count them
        or "#" in row.replace(" #", "")
        or "@ " in row
        or "# " in row
        or ("#" in row and _NO_HASHTAG.search(row) is not None)
    )


def plain(found: list[str]) -> str:
    """Tokens in a row, each between spaces, in which phrases can be looked for.

    Hashtags and mentions are there as the words that they are, links as the words that they hold.
    """
    row = f" {' '.join(found)} "
    if "://" in row:
        row = f" {' '.join(word for token in found for word in _parts(token))} "
    if "#" in row or "@" in row:
        row = row.replace(" #", " ").replace(" @", " ")
    return row


def pattern(words: list[str], *, open_end: bool = False) -> str:
    """What to look for in `plain` to find these words side by side.

    A space stands for the edge of a word, and is left out where a script has none. With `open_end` the last
    word may go on.
    """
    row = " ".join(words)
    left = "" if _UNSPACED.match(row[0]) else " "
    right = "" if open_end or _UNSPACED.match(row[-1]) else " "
    return f"{left}{row}{right}"


def _parts(token: str) -> list[str]:
    return _WORD.findall(token) if "://" in token else [token]
