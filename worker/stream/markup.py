"""HTML to plain text, for posts that are written in it. Pure, and linear in what it is given.

Nothing is interpreted: tags go, what scripts and styles say goes with them, entities become characters.
Not `html.parser`, which takes seconds for ten kilobytes of tags that are never closed (Python 3.11), because
whoever writes to an input topic decides what a worker reads.
"""

from __future__ import annotations

import html
import re

_TAG = re.compile(r"<(?:(/?)([a-zA-Z][a-zA-Z0-9]{0,15})|!)[^<>]*>")
"""Stops at the next `<`, so that no character is looked at twice; in attributes it is written `&lt;`."""
_LINES = re.compile(
    "address|article|aside|blockquote|br|dd|div|dl|dt|figcaption|figure|footer|h[1-6]|header|hr|li|main|nav|ol|p"
    "|pre|section|table|td|th|tr|ul"
)
"""Tags that begin or end a line."""
_SILENT = frozenset({"script", "style", "template"})
_NO_CHARACTER = re.compile(r"&#[0-9]{64,};?")
"""`html.unescape` makes an integer of it, which Python refuses from 4,300 digits on."""
_EMPTY_LINES = re.compile(r"\n{2,}")


def plain_text(markup: str) -> str:
    """What a person reads: blocks and `<br>` become lines, the text of links and mentions stays."""
    said: list[str] = []
    silent = ""
    at = 0
    for tag in _TAG.finditer(markup):
        if not silent:
            said.append(markup[at : tag.start()])
        at = tag.end()
        name = (tag[2] or "").lower()
        if silent:
            silent = "" if tag[1] and name == silent else silent
        elif name in _SILENT and not tag[1]:
            silent = name
        elif _LINES.fullmatch(name):
            said.append("\n")
    if not silent:
        said.append(markup[at:])
    characters = html.unescape(_NO_CHARACTER.sub("\ufffd", "".join(said)))
    return _EMPTY_LINES.sub("\n", characters).strip()
