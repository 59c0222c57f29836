"""Labels as CloudEvents 1.0, in the binary mode of its Kafka binding: the attributes are headers. Pure.

`ce_id` is the input's `topic/partition/offset`, so that a post that is labelled again, by a replay or behind
an outage, is the same event; `ce_time` says when it was labelled.

CloudEvents 1.0.2, "Kafka Protocol Binding", 3.2: names are prefixed with `ce_`, values are UTF-8, and the
type of the value is in `content-type`, without a prefix.
"""

from __future__ import annotations

from datetime import datetime
from typing import NamedTuple

from worker.types import Headers

LABELLED = "moodstream.label"
DELETED = "moodstream.label.deleted"
CONTENT_TYPES = {
    "json": "application/json",
    "avro": "application/vnd.apache.avro",
    "protobuf": "application/protobuf",
}
"""Of the value; in Avro and Protobuf the schema's id goes before it, as Confluent's serializers write it."""


class Events(NamedTuple):
    """What makes events."""

    source: str
    """Which moodstream; with the id it names the event."""
    content_type: str

    def label(self, where: str, now: datetime) -> Headers:
        """The headers of a label; `where` is its input."""
        return [*self._attributes(LABELLED, where, now), ("content-type", self.content_type.encode())]

    def deletion(self, where: str, now: datetime) -> Headers:
        """The headers of a tombstone, which has no value to be of a type."""
        return self._attributes(DELETED, where, now)

    def _attributes(self, kind: str, where: str, now: datetime) -> Headers:
        return [
            ("ce_specversion", b"1.0"),
            ("ce_id", where.encode()),
            ("ce_source", self.source.encode()),
            ("ce_type", kind.encode()),
            ("ce_time", now.isoformat().encode()),
        ]
