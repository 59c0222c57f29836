"""The names of everything that trends keep in Redis, and for how long.

    {moodstream:emotion-labels}:state            hash: partition -> "generation:offset", and "generation"
    {moodstream:emotion-labels}:queries          hash: name -> tracked query
    {moodstream:emotion-labels}:queries:version  counts its changes
    {moodstream:emotion-labels}:live             channel: labels as they are counted; keeps nothing
    {moodstream:emotion-labels}:4f1c09ab:...     all that is counted in this generation:

    sources, langs        sets: what is counted by name
    outside               hash: "late" and "early" -> how many labels count in no bucket
    h:490742:n:a          hash of an hour: "minute|emotion" -> how many labels there are
    h:490742:s:a          the same: the sum of their scores, in millionths
    d:20447:n:a           hash of a day: "hour|emotion"
    m:730:n:a             hash of 28 days: "day|emotion"
    ...:n:s:web           of one source; `l:en` of one language, `q:1a2b3c4d5e` of one tracked query
    h:490742:a:e:joy      HyperLogLog of an hour (`d:` of a day): authors of one emotion (or `s:`, ...)
    h:490742:t            hash: the packed terms of an hour (`d:` of a day), and their version
    h:490742:t:new        list: terms that are not packed yet; `unpacked` is the set of such hours
    h:490742:p:e:joy      sorted set: sampled posts of an hour and emotion (or `q:`, query; `r:`, slice)
    h:490742:x            hash: "slot|label|column|model" -> labels, for drift (`d:` of a day): see shapes.py
    i:20447               hash, by the day of writing: digest of a record's key -> its samples

    {moodstream:emotion-labels}:backfills        hash: name -> a backfill: its days, model and generation
    {moodstream:emotion-labels}:swaps            list of those that are swapped in; one value, so one write
    {moodstream:emotion-labels}:b:NAME:state     the state of a backfill of that name, as above
    {moodstream:emotion-labels}:b:NAME:51c0ffee:...  all that is counted in it, as above

What stands in braces is the hash tag: all of it lives on one node of a cluster. A bucket is numbered by its
span since the epoch, UTC.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from worker.trends.windows import Bucket


class Series(NamedTuple):
    """One curve: all labels, or those of one source, language, tracked query or (of authors) emotion.

    Samples are also kept of the slices that are reviewed.
    """

    letter: str
    """a, s, l, q, e or r."""
    name: str = ""

    def __str__(self) -> str:
        return self.letter if self.letter == "a" else f"{self.letter}:{self.name}"


ALL_LABELS = Series("a")

Due = Callable[[str, int], int]
"""`due(key, kept_s)`: the seconds to tell for a key that is written, 0 where that is not needed."""

_SETTLED_BY_SCRIPT = {"s": 1, "l": 2}
"""Only the first few sources and languages are counted by name, so that the script settles under which name.

Here the number of the row of names that it looks in.
"""


class Keys(NamedTuple):
    """The names for one labels topic in one namespace, or for a backfill of it.

    A backfill has the hash tag of what it may replace: one command can then read both, also in a cluster.
    """

    namespace: str
    topic: str
    """Of the live labels."""
    backfill: str = ""
    """Its name; empty for what is counted live."""

    @property
    def labels(self) -> str:
        """The topic whose labels are counted here."""
        return f"{self.topic}-{self.backfill}" if self.backfill else self.topic

    @property
    def _base(self) -> str:
        return f"{self.tag}:b:{self.backfill}" if self.backfill else self.tag

    @property
    def tag(self) -> str:
        return f"{{{self.namespace}:{self.topic}}}"

    @property
    def live(self) -> str:
        """The channel of labels as they are counted."""
        return f"{self.tag}:live"

    @property
    def state(self) -> str:
        return f"{self._base}:state"

    @property
    def legacy(self) -> str:
        """Hash: partition -> generation, of what was counted in the earlier layout.

        See `worker.trends.legacy`.
        """
        return f"{self._base}:legacy"

    @property
    def backfills(self) -> str:
        return f"{self.tag}:backfills"

    @property
    def swaps(self) -> str:
        return f"{self.tag}:swaps"

    @property
    def queries(self) -> str:
        """A backfill counts the queries that are tracked live."""
        return f"{self.tag}:queries"

    @property
    def queries_version(self) -> str:
        return f"{self.tag}:queries:version"

    def prefix(self, generation: str) -> str:
        """What all keys of a generation begin with."""
        return f"{self._base}:{generation}:"

    @property
    def every_generation(self) -> str:
        """A pattern for SCAN: what was ever counted. Namespaces and topics hold no special characters.

        Of what is counted live it finds no backfill's.
        """
        return f"{self._base}:{'[0-9a-f]' * 8}:*"

    def generation_of(self, key: str) -> str:
        """The generation of a key that `every_generation` finds."""
        return key.removeprefix(f"{self._base}:").partition(":")[0]


SOURCES, LANGS, OUTSIDE, UNPACKED = "sources", "langs", "outside", "unpacked"


def settled(series: Series) -> tuple[int, str]:
    """Which series it is, for the script: whether it settles the name, and the series or name."""
    names = _SETTLED_BY_SCRIPT.get(series.letter, 0)
    return names, series.name if names else str(series)


def counts(bucket: Bucket, series: Series | str) -> str:
    """Hash: number of labels, per slot and emotion."""
    return f"{bucket.letter}:{bucket.number}:n:{series}"


def scores(bucket: Bucket, series: Series | str) -> str:
    """Hash: sum of their scores, per slot and emotion."""
    return f"{bucket.letter}:{bucket.number}:s:{series}"


def field(slot: int, emotion: str) -> str:
    """The field of a hash of counts or scores."""
    return f"{slot}|{emotion}"


def authors(bucket: Bucket, series: Series | str) -> str:
    """HyperLogLog of author ids."""
    return f"{bucket.letter}:{bucket.number}:a:{series}"


def packed_terms(bucket: Bucket) -> str:
    """Hash: `b`, a packed `TermTable`, and `v`, its version."""
    return f"{bucket.letter}:{bucket.number}:t"


def new_terms(bucket: Bucket) -> str:
    """List of packed `TermTable`s that are to be added to the former."""
    return f"{bucket.letter}:{bucket.number}:t:new"


def shapes(bucket: Bucket) -> str:
    """Hash: how the labels of each model are spread; see `worker.trends.shapes`."""
    return f"{bucket.letter}:{bucket.number}:x"


def samples(hour: int, series: Series | str) -> str:
    """Sorted set: digest of the record's key and the post as JSON (the rank alone where deleted) -> rank."""
    return f"h:{hour}:p:{series}"


def sample_index(day: int) -> str:
    """Hash of what was sampled on this day since the epoch, by the clock of the writer: digest -> samples."""
    return f"i:{day}"
