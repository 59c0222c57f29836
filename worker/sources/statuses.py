"""Statuses of Mastodon: what one becomes, and what its id says. Pure.

Ids of Mastodon are numbers that begin with the milliseconds at which a status was written. One that comes
later from another server gets the id of when it was written: ids do not rise from event to event.
Other servers that speak Mastodon's API have ids of their own kind.
"""

from __future__ import annotations

import re
from datetime import datetime

import msgspec

from worker.stream.envelopes import unwrap
from worker.types import Post

_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
_MOST_CURSOR = 2**63 - 1
_FIRST_MS = 1_451_606_400_000
"""2016: ids that say an earlier time do not say the time."""
_SEQUENCE_BITS = 16
_PREVIOUS = re.compile(r"""<[^<>]*[?&]min_id=([A-Za-z0-9_-]{1,64})[^<>]*>\s*;\s*rel="?prev\b""")


class Status(msgspec.Struct, frozen=True):
    """Of a status, what a source looks at."""

    id: str
    text: str
    lang: str | None
    at: float | None
    """Seconds since the epoch."""
    edited_at: str | None
    is_reblog: bool


class _Marks(msgspec.Struct):
    id: str
    reblog: msgspec.Raw = msgspec.Raw(b"null")
    edited_at: str | None = None


_marks = msgspec.json.Decoder(_Marks).decode


def read(value: bytes) -> Status | None:
    """The status; None where it is none, which a worker will say of it too."""
    try:
        marks = _marks(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    post = unwrap(value)
    if not isinstance(post, Post) or post.source != "mastodon" or not _ID.fullmatch(marks.id):
        return None
    at = post.created_at.timestamp() if isinstance(post.created_at, datetime) else None
    is_reblog = bytes(marks.reblog) != b"null"
    return Status(marks.id, post.text, post.lang, at, marks.edited_at, is_reblog)


def id_of(value: bytes) -> str | None:
    """The id of a status, also of one that cannot be read otherwise."""
    try:
        found = _marks(value).id
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None
    return found if _ID.fullmatch(found) else None


def deleted(data: bytes) -> str | None:
    """The id in the data of a `delete`; None where it is none."""
    found = data.decode(errors="replace").strip()
    return found if _ID.fullmatch(found) else None


def cursor_of(status_id: str) -> int | None:
    """The number that an id is; None where it is none."""
    number = int(status_id) if status_id.isascii() and status_id.isdecimal() else _MOST_CURSOR
    return number if number < _MOST_CURSOR else None


def time_of(cursor: int) -> float | None:
    """When a status of this id was written, in seconds since the epoch; None where its id does not say."""
    ms = cursor >> _SEQUENCE_BITS
    return ms / 1000 if ms >= _FIRST_MS else None


def cursor_at(seconds: float) -> int:
    """The least id of what was written from then on."""
    return int(seconds * 1000) << _SEQUENCE_BITS


def newer_than(link: str) -> str | None:
    """The `min_id` of the next newer page, out of a `Link` header; None where there is none in it."""
    found = _PREVIOUS.search(link)
    return found[1] if found else None


def in_languages(lang: str | None, wanted: frozenset[str]) -> bool:
    """Whether it is one of them; `en` is also `en-GB`. None wanted: every post is."""
    if not wanted:
        return True
    told = (lang or "").lower()
    return told in wanted or told.split("-")[0] in wanted
