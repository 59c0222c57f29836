"""What decodes the records of the inputs, by the formats of their topics."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from worker.errors import BadRecordError
from worker.stream.decode import MAX_KEY, Deletion, decode, is_empty
from worker.types import Post, Record

Decode = Callable[[Record], Post | Deletion]
"""The post in a record, or the deletion that it is. Raises BadRecordError."""


def decoder(readers: Mapping[str, Callable[[bytes], Post]]) -> Decode:
    """What decodes records, with a reader for each topic that is not JSON; without any, the JSON decoder.

    Key, deletions and empty texts are as with JSON; envelopes of other systems come in JSON only.
    """
    if not readers:
        return decode

    def by_topic(record: Record) -> Post | Deletion:
        read = readers.get(record.topic)
        return decode(record) if read is None else _framed(record, read)

    return by_topic


def _framed(record: Record, read: Callable[[bytes], Post]) -> Post | Deletion:
    if record.key is not None and len(record.key) > MAX_KEY:
        raise BadRecordError("key_too_large", f"the key has {len(record.key)} bytes, more than {MAX_KEY}")
    if record.value is None:
        return Deletion(record.key)
    post = read(record.value)
    if is_empty(post.text):
        raise BadRecordError("empty_text", "the text is empty or white space")
    return post
