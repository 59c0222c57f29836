"""Terms in Redis: appended with each batch, packed now and then.

A batch appends one small table to a list of each of its hours; that is one command, in the script that
moves the offset. When a list has grown, its tables are added to the packed table of the hour, and their sum
is appended to the list of the day, where the same happens: a log-structured merge tree (O'Neil et al. 1996)
of two levels. Only packing cuts a table to size. Whoever packs says which version it has read; if another
was faster, nothing happens.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from redis import Redis

from worker.clock import Clock
from worker.trends import keys as names
from worker.trends.redis_connection import script
from worker.trends.store import Limits, StoreUnavailableError
from worker.trends.term_table import TermTable, added, cut, packed, unpacked
from worker.trends.windows import DAY, HOUR, HOURS, MINUTES, TIERS, Bucket

_PACK_FROM = 32
"""New tables of an hour or day from which on they are packed."""
_LOOK_EVERY_S = 30.0
_IDLE_S = 120.0
"""An hour to which nothing was added for so long is packed, however few its new tables are."""


class TermPacker:
    """Packs what one writer has appended, and what others have left behind.

    Belongs to the writer's thread.
    """

    def __init__(self, client: Redis, limits: Limits, clock: Clock) -> None:
        self._client = client
        self._limits = limits
        self._clock = clock
        self._script = script(client, "pack")
        self._added_at: dict[int, float] = {}
        self._looked_at = -math.inf

    def pack_where_due(self, prefix: str, appended: Mapping[int, int]) -> None:
        """After a batch: `appended` says of each of its hours how many new tables there are."""
        now = self._clock.monotonic()
        for hour, n in appended.items():
            self._added_at[hour] = now
            if n >= _PACK_FROM:
                self._pack_hour(prefix, hour)
        if now - self._looked_at >= _LOOK_EVERY_S:
            self._looked_at = now
            self._added_at = {hour: at for hour, at in self._added_at.items() if now - at < _IDLE_S}
            hours = {int(hour) for hour in self._client.smembers(prefix + names.UNPACKED)}
            for hour in sorted(hours - self._added_at.keys()):
                self._pack_hour(prefix, hour)

    def _pack_hour(self, prefix: str, hour: int) -> None:
        day = Bucket(HOURS.letter, hour * HOUR // DAY)
        if self._pack(prefix, Bucket(MINUTES.letter, hour), day) >= _PACK_FROM:
            self._pack(prefix, day, day)

    def _pack(self, prefix: str, bucket: Bucket, onto: Bucket) -> int:
        """How many new tables `onto` has afterwards; -1 where another was faster."""
        table, new = prefix + names.packed_terms(bucket), prefix + names.new_terms(bucket)
        with self._client.pipeline() as pipeline:  # both as of one moment
            pipeline.hmget(table, "v", "b")
            pipeline.lrange(new, 0, -1)
            (version, before), tables = pipeline.execute()
        sum_ = added(map(_read, tables))
        most = self._limits.terms_kept(TIERS[bucket.letter])
        whole = cut(added([*([_read(before)] if before is not None else []), sum_]), most)
        kept = {letter: self._limits.details_kept_s(TIERS[letter]) for letter in ("h", "d")}
        return int(
            self._script(
                keys=[table, new, prefix + names.new_terms(onto), prefix + names.UNPACKED],
                args=[
                    version or "",
                    len(tables),
                    packed(whole),
                    packed(sum_),
                    kept[bucket.letter],
                    kept[onto.letter],
                    bucket.number,
                ],
            )
        )


def read_terms(client: Redis, buckets: Iterable[tuple[str, Bucket]]) -> TermTable:
    """All terms of these buckets, packed or not; with each, what its keys begin with."""
    with client.pipeline() as pipeline:  # all as of one moment: packing moves them
        for prefix, bucket in buckets:
            pipeline.hget(prefix + names.packed_terms(bucket), "b")
            pipeline.lrange(prefix + names.new_terms(bucket), 0, -1)
            if bucket.letter == HOURS.letter:
                for hour in range(bucket.number * 24, bucket.number * 24 + 24):
                    pipeline.lrange(prefix + names.new_terms(Bucket(MINUTES.letter, hour)), 0, -1)
        answers = pipeline.execute()
    found: list[bytes] = []
    for answer in answers:
        if isinstance(answer, bytes):
            found.append(answer)
        elif answer:
            found += answer
    return added(map(_read, found))


def _read(table: bytes) -> TermTable:
    try:
        return unpacked(table)
    except ValueError as error:
        raise StoreUnavailableError("redis", f"{error}: is the namespace somebody else's?") from None
