"""Links of pages that are read in the repository too, made to lead somewhere on the site. Pure."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping

Lookup = Callable[[str], bool]

_PICTURE = re.compile(r"<picture>.*?</picture>", re.DOTALL)
_ATTRIBUTE = re.compile(r'\b(srcset|src|alt)="([^"]*)"')
_LINK = re.compile(
    r"(?P<fence>^ *```.*?^ *```)"
    r"|(?P<image>!?)\[(?P<text>[^\]]*)\]\((?P<target>[^)\s#]*)(?P<fragment>#[^)\s]*)?\)"
    r"|(?P<code>`[^`\n]*`)",
    re.DOTALL | re.MULTILINE,
)


def rewrite(text: str, source: str, page: str, pages: Mapping[str, str], exists: Lookup) -> str:
    """The Markdown with each relative link as the site needs it.

    - to a file that is on the site: to where it is there;
    - to another file of the repository: no link, but its text and the file's path;
    - to nothing: as it was, so that a strict build finds it.

    Args:
        text: Markdown.
        source: Path of its file in the repository, `docs/trends.md`.
        page: Path of the page on the site, `trends.md`.
        pages: Where on the site the files of the repository are, by path.
        exists: Whether the repository has a path.
    """

    def one(found: re.Match[str]) -> str:
        target = found["target"]
        if not target or re.match(r"[a-z]+:", target):
            return found[0]
        path = posixpath.normpath(posixpath.join(posixpath.dirname(source), target))
        if path in pages:
            there = posixpath.relpath(pages[path], posixpath.dirname(page) or ".")
            return f"{found['image']}[{found['text']}]({there}{found['fragment'] or ''})"
        return _told(found["text"], path) if exists(path) else found[0]

    return _LINK.sub(one, _PICTURE.sub(_pictures, text))


def _told(text: str, path: str) -> str:
    named = text.strip("`").rstrip("/") == path
    return f"`{path}`" if named else f"{text} (`{path}`)"


def _pictures(found: re.Match[str]) -> str:
    """A picture for light and one for dark, in the theme's way, which follows its own switch."""
    named = dict(_ATTRIBUTE.findall(found[0]))
    kinds = {"srcset": "only-dark", "src": "only-light"}
    return "\n".join(f"![{named['alt']}]({named[which]}#{kind})" for which, kind in kinds.items())


def until(text: str, heading: str) -> str:
    """What stands before a heading, less the page's own title.

    Raises:
        ValueError: there is no such heading.
    """
    before, found, _ = text.partition(f"\n## {heading}\n")
    if not found:
        raise ValueError(f"there is no heading {heading!r}")
    return re.sub(r"\A# .*\n", "", before)


def table_under(text: str, heading: str, which: str) -> str:
    """The `first` or `last` table under a heading of the second level.

    Raises:
        ValueError: there is no such heading, or no table under it.
    """
    section = re.search(rf"^## {re.escape(heading)}\n(.*?)(?=^## |\Z)", text, re.DOTALL | re.MULTILINE)
    tables = re.findall(r"(?:^\|.*\n)+", section[1], re.MULTILINE) if section else []
    if not tables:
        raise ValueError(f"there is no table under {heading!r}")
    return str(tables[0 if which == "first" else -1])
