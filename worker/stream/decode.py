"""Bytes to posts. Pure: a record in; a `Post` or `Deletion` out, or a `BadRecordError` that says why not."""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from worker.errors import BadRecordError
from worker.formats.problems import explained
from worker.stream.dead_letters import first_taken_ms
from worker.stream.envelopes import unwrap
from worker.types import Post, Record

_POST = msgspec.json.Decoder(Post)
_FIRST_YEAR, _LAST_YEAR = 1970, 2999
MAX_KEY = 16 * 1024
"""Bytes. A label has the key of its post, and must never grow past what its topic takes."""
_MILLISECONDS_FROM = 1e11
"""Numbers from here on are milliseconds: as seconds they would lie after the year 5000."""


class Deletion(msgspec.Struct, frozen=True):
    """A post that its author took back; `key` is what the label's key was."""

    key: bytes | None


def decode(record: Record) -> Post | Deletion:
    """The post in a record; a null value is a deletion of its key.

    Raises:
        BadRecordError: with `kind` one of `invalid_utf8`, `invalid_json`, `wrong_type`, `missing_id`,
            `missing_text`, `empty_text`, `invalid_time`, `key_too_large`.
    """
    if record.key is not None and len(record.key) > MAX_KEY:
        raise BadRecordError("key_too_large", f"the key has {len(record.key)} bytes, more than {MAX_KEY}")
    value = record.value
    if value is None:
        return Deletion(record.key)
    try:
        post = _POST.decode(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        unwrapped = unwrap(value)
        if isinstance(unwrapped, Post):
            post = unwrapped
        elif unwrapped is not None:
            return Deletion(record.key or unwrapped.deleted)
        else:
            raise _explained(value, error) from None
    if is_empty(post.text):
        raise BadRecordError("empty_text", "the text is empty or white space")
    return post


def is_empty(text: str) -> bool:
    """Whether there is nothing in a text to label."""
    return not text or text.isspace()


def written_at(post: Post, record: Record) -> datetime:
    """When the post was written (UTC): its own word for it, else Kafka's timestamp.

    Raises:
        BadRecordError: `invalid_time`, for a time outside the years 1970 to 2999.
    """
    created = post.created_at
    if created is None:
        created = first_taken_ms(record)
    if not isinstance(created, datetime):
        created = _from_number(created)
    elif created.tzinfo is None:
        created = created.replace(tzinfo=UTC)
    if not _FIRST_YEAR <= created.year <= _LAST_YEAR:
        raise BadRecordError("invalid_time", "created_at lies outside the years 1970 to 2999")
    return created


def _from_number(number: float) -> datetime:
    try:
        return datetime.fromtimestamp(number / 1000 if number >= _MILLISECONDS_FROM else number, UTC)
    except (OverflowError, ValueError, OSError):
        raise BadRecordError("invalid_time", "created_at is no time in seconds or milliseconds") from None


def _explained(value: bytes, error: Exception) -> BadRecordError:
    """What is wrong with a value that is neither a post nor a known envelope; only bad records pay for it."""
    return not_json(value, error) or explained(error)


def not_json(value: bytes, error: Exception) -> BadRecordError | None:
    """Why a value could not even be read as JSON; None where it is JSON, but not what was expected."""
    try:
        value.decode()
    except UnicodeDecodeError as broken:
        return BadRecordError("invalid_utf8", f"the value is not UTF-8 at byte {broken.start}")
    if isinstance(error, RecursionError):
        return BadRecordError("invalid_json", "the value is nested too deeply")
    if not isinstance(error, msgspec.ValidationError):
        return BadRecordError("invalid_json", "the value is not JSON")
    return None
