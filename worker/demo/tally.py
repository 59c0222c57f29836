"""What was sent, what came back for it, how soon; and the counts that the trends must arrive at.

Written to by the thread that sends and reads, read by the thread that shows: every method takes the lock.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

from worker.demo.latency import Latencies
from worker.demo.records import OWN, Kind, Made
from worker.types import Label, LabelName

_ROWS = 40
_MINUTE = 60

Counts = Mapping[tuple[int, str, str], int]
"""Labels by minute (its first second since the epoch), emotion and source."""


class Row(NamedTuple):
    """One answer, to show."""

    topic: str
    text: str
    label: LabelName | None
    """None: a dead letter; `text` is then what was wrong with it."""
    score: float
    latency_ms: float


class Totals(NamedTuple):
    """Everything so far, at one moment."""

    taken: int
    """Records sent, deletions apart."""
    labelled: int
    dead: int
    waiting: int
    """Records sent, deletions included, that nothing has come back for."""
    unexpected: int
    """Answers to nothing that was sent, or to something already answered."""
    others: int
    """Answers to records that somebody else has sent to this broker."""
    deletions: int
    tweets_per_s: float
    p50_ms: float
    p99_ms: float
    rows: tuple[Row, ...]
    """The latest answers, oldest first."""


class _Sent(NamedTuple):
    made: Made
    at: float


class Tally:
    """The books of a demo. Times are monotonic seconds."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[tuple[bytes, bool], _Sent] = {}
        """By key and whether it is a deletion, because that has the key of its post."""
        self._counts: Counter[tuple[int, str, str]] = Counter()
        self._latencies = Latencies()
        self._rows: deque[Row] = deque(maxlen=_ROWS)
        self._taken = self._labelled = self._dead = self._unexpected = self._others = self._deletions = 0
        self._first_sent: float | None = None
        self._last_label = 0.0

    @property
    def waiting(self) -> int:
        """How many records nothing has come back for."""
        with self._lock:
            return len(self._waiting)

    def sent(self, made: Made, at: float) -> None:
        """A record goes out; call it before, because the answer may be fast."""
        deletion = made.kind is Kind.DELETION
        with self._lock:
            self._waiting[made.key, deletion] = _Sent(made, at)
            if made.past:
                return
            self._deletions += deletion
            self._taken += not deletion
            if self._first_sent is None:
                self._first_sent = at

    def label(self, key: bytes, label: Label, at: float) -> None:
        """A label was read."""
        with self._lock:
            # The trends count each label of the topic, so an unexpected one and those of others as well.
            self._counts[_minute(label.created_at), label.label, label.source] += 1
            sent = self._answered(key, deletion=False)
            if sent is None or sent.made.past:
                return
            self._labelled += 1
            self._last_label = at
            self._latencies.add(at - sent.at)
            self._rows.append(
                Row(sent.made.topic, sent.made.text, label.label, label.score, (at - sent.at) * 1000)
            )

    def dead_letter(self, key: bytes, fault: str, at: float) -> None:
        """A dead letter was read."""
        with self._lock:
            sent = self._answered(key, deletion=False)
            if sent is not None and not sent.made.past:
                self._dead += 1
                self._rows.append(Row(sent.made.topic, fault, None, 0.0, (at - sent.at) * 1000))

    def tombstone(self, key: bytes) -> None:
        """A deletion was read."""
        with self._lock:
            self._answered(key, deletion=True)

    def counts(self) -> Counts:
        """What the trends must say once they have read what we have read."""
        with self._lock:
            return dict(self._counts)

    def totals(self) -> Totals:
        """Everything so far."""
        with self._lock:
            lasted = self._last_label - (self._first_sent or 0.0)
            return Totals(
                taken=self._taken,
                labelled=self._labelled,
                dead=self._dead,
                waiting=len(self._waiting),
                unexpected=self._unexpected,
                others=self._others,
                deletions=self._deletions,
                tweets_per_s=round(self._labelled / lasted, 1) if self._labelled and lasted > 0 else 0.0,
                p50_ms=self._latencies.percentile_ms(50),
                p99_ms=self._latencies.percentile_ms(99),
                rows=tuple(self._rows),
            )

    def _answered(self, key: bytes, *, deletion: bool) -> _Sent | None:
        if not key.startswith(OWN):
            self._others += 1
            return None
        sent = self._waiting.pop((key, deletion), None)
        self._unexpected += sent is None
        return sent


def _minute(moment: datetime) -> int:
    return int(moment.timestamp()) // _MINUTE * _MINUTE
