"""Which records of the inputs a backfill is about. Pure.

Trends count a post when it says that it was written, so a backfill of some days is of the posts written then,
whenever Kafka got them. A deletion may come at any time later, and each must take its post away here too.
"""

from __future__ import annotations

from dataclasses import dataclass

from worker.errors import BadRecordError
from worker.stream.dead_letters import first_taken_ms
from worker.stream.decode import decode, written_at
from worker.stream.decoders import Decode
from worker.types import Post, Record


@dataclass(frozen=True, slots=True)
class Wanted:
    """The posts that were written between two moments, and all deletions.

    Called with a record, says whether it is one of them. Those that the live trends count as late or early,
    and nowhere else, are none; that is judged by when Kafka got them, because the labels of the past need not
    be there any more. A record that is no post has nothing but that time.
    """

    start: float
    """Epoch seconds."""
    end: float
    """Not included."""
    late_s: float = float("inf")
    early_s: float = float("inf")
    decode: Decode = decode
    """What a record holds."""

    def __call__(self, record: Record) -> bool:
        try:
            what = self.decode(record)
            if not isinstance(what, Post):
                return True
            written = written_at(what, record).timestamp()
        except BadRecordError:
            return self.start <= first_taken_ms(record) / 1000 < self.end
        age_s = record.timestamp_ms / 1000 - written
        return self.start <= written < self.end and -self.early_s <= age_s <= self.late_s
