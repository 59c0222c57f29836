"""Posts taken as they come from elsewhere: X API v2, Bluesky Jetstream and Mastodon.

Only records that are not a plain post come here, so a stream of plain posts pays nothing for it.
"""

from __future__ import annotations

from datetime import datetime

import msgspec

from worker.stream.markup import plain_text
from worker.types import Post, Short


class _XData(msgspec.Struct):
    id: Short
    text: str
    created_at: datetime | None = None
    author_id: Short | None = None
    lang: Short | None = None
    in_reply_to_user_id: Short | None = None


class _X(msgspec.Struct):
    """X API v2: `{"data": {...}, "includes": ..., "matching_rules": ...}`."""

    data: _XData


class _BlueskyRecord(msgspec.Struct):
    text: str = ""
    createdAt: datetime | None = None  # noqa: N815 - Bluesky's name
    langs: list[Short] = []


class _BlueskyCommit(msgspec.Struct):
    operation: str
    collection: Short
    rkey: Short
    record: _BlueskyRecord | None = None


class _Bluesky(msgspec.Struct):
    """Bluesky Jetstream: `{"did", "time_us", "kind": "commit", "commit": {...}}`."""

    did: Short
    time_us: float
    commit: _BlueskyCommit


class _MastodonAccount(msgspec.Struct):
    id: Short


class _Mastodon(msgspec.Struct):
    """A Mastodon status; its `content` is HTML."""

    id: Short
    content: str
    account: _MastodonAccount
    created_at: datetime | None = None
    language: Short | None = None
    in_reply_to_id: Short | None = None


class Deleted(msgspec.Struct, frozen=True):
    """An envelope that says a post was taken back; `deleted` is the id of that post."""

    deleted: bytes


_X_DECODER = msgspec.json.Decoder(_X)
_BLUESKY_DECODER = msgspec.json.Decoder(_Bluesky)
_MASTODON_DECODER = msgspec.json.Decoder(_Mastodon)
_POSTS = "app.bsky.feed.post"


def unwrap(value: bytes) -> Post | Deleted | None:
    """The post inside an envelope, or its deletion; None where the value is no envelope known here."""
    for attempt in (_from_x, _from_bluesky, _from_mastodon):
        try:
            found = attempt(value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
            continue
        if found is not None:
            return found
    return None


def _from_x(value: bytes) -> Post:
    data = _X_DECODER.decode(value).data
    return Post(
        id=data.id,
        text=data.text,
        created_at=data.created_at,
        author_id=data.author_id,
        lang=data.lang,
        source="x",
        reply_to=data.in_reply_to_user_id,
    )


def _from_bluesky(value: bytes) -> Post | Deleted | None:
    event = _BLUESKY_DECODER.decode(value)
    commit = event.commit
    uri = f"at://{event.did}/{commit.collection}/{commit.rkey}"
    if commit.collection != _POSTS:
        return None
    if commit.operation == "delete":
        return Deleted(uri.encode())
    if commit.record is None:
        return None
    return Post(
        id=uri,
        text=commit.record.text,
        created_at=commit.record.createdAt or event.time_us / 1e6,
        author_id=event.did,
        lang=commit.record.langs[0] if commit.record.langs else None,
        source="bluesky",
    )


def _from_mastodon(value: bytes) -> Post:
    status = _MASTODON_DECODER.decode(value)
    return Post(
        id=status.id,
        text=plain_text(status.content),
        created_at=status.created_at,
        author_id=status.account.id,
        lang=status.language,
        source="mastodon",
        reply_to=status.in_reply_to_id,
    )
