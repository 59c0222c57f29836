"""The loop of the trends role, one turn of which is `run_once`.

    1. consume    records of the partitions whose place in the topic is known
    2. decode     labels, their terms and the tracked queries they match; deletions; what is no label
    3. aggregate  one batch a partition, and all that they add
    4. apply      that and their offsets into the store, in one atomic step and a thread of its own, which
                  waits while the next records are decoded and aggregated
    5. tell       some of what was counted, to whoever watches the live feed
    6. commit     the offsets to Kafka too, for whoever watches the group's lag

The store's offset is the only truth. It is asked for when a partition is assigned, after any trouble, and
every few seconds besides; Kafka's committed offset is never read. So there is one answer to a Redis that was
away, restarted or wiped, to a rebalance and to a crash at any point: ask the store, and read from there.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import NamedTuple

from worker.clock import Clock
from worker.dependency import Dependency
from worker.formats.registry import RegistryAwayError
from worker.metrics import Metrics
from worker.stream.rising import brought_again
from worker.trends.count_traces import UNTRACED, Counting, CountTraces
from worker.trends.counting import Batch, Decoded, Reading, ReadLabel, aggregate, decode, in_json
from worker.trends.live.feed import LiveFeed
from worker.trends.meter import Meter
from worker.trends.source import LabelSource, Taken
from worker.trends.store import (
    OffsetLostError,
    Outcome,
    Position,
    Prepared,
    StoreRefusedError,
    StoreUnavailableError,
    TrendStore,
)
from worker.trends.watch import QueryWatch
from worker.types import Record
from worker.web.health import Health

_TURN_S = 0.2
"""How long a turn waits for records: what counts are late by at most, and how soon a stop is seen."""
_PIECE = 10_000
"""Records that are decoded and counted together, whatever partitions they are of."""
_CHECK_S = 5.0
"""How often the store is asked where it stands, so that a wiped one is noticed without new records."""

log = logging.getLogger(__name__)


@dataclass
class _Place:
    """Where one partition is being read."""

    position: Position | None
    """Where we believe the store to stand."""
    next: int
    """The next offset to read."""
    counted: int
    """The offset before which the store has counted all."""
    end: int = -1
    """The end of the log when it was last reached; beyond `next` by transaction markers."""
    taken_ms: int = -1
    """Kafka's timestamp of the last record that was counted."""
    committed: int = -1

    @property
    def reached(self) -> int:
        """The offset before which nothing is left to count."""
        return max(self.counted, self.end) if self.counted == self.next else self.counted


class _Read(NamedTuple):
    """Records of one partition, and what they hold; `None` where that cannot be known now."""

    partition: int
    records: Sequence[Record]
    decoded: Decoded | None
    trace: Counting


class _Part(NamedTuple):
    """What one partition has of a piece."""

    place: _Place
    batch: Batch
    decoded: Decoded
    taken_ms: int
    """Kafka's timestamp of its last record."""
    trace: Counting


class _InFlight(NamedTuple):
    """Batches that are being applied."""

    parts: list[_Part]
    outcomes: Future[list[Outcome]]


class TrendsLoop:
    """Steps 1 to 6, over any source, store and feed."""

    def __init__(
        self,
        source: LabelSource,
        store: TrendStore,
        *,
        feed: LiveFeed,
        topic: str,
        max_records: int,
        redis: Dependency,
        clock: Clock,
        metrics: Metrics,
        health: Health,
        watch: QueryWatch | None = None,
        counted: Callable[[Batch], None] = lambda _: None,
        traces: CountTraces = UNTRACED,
        read: ReadLabel = in_json,
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        """Begin nowhere.

        `watch`: what of a label is looked at; without one all but tracked queries. `counted` is told of every
        batch that was counted, by the loop's own thread. `read`: what reads a label; `ready`:
        whether what it asks may be asked now, so that nothing is fetched before.
        """
        self._traces = traces
        self._read = read
        self._ready = ready
        self._watch = watch
        self._source = source
        self._store = store
        self._feed = feed
        self._max_records = max_records
        self._redis = redis
        self._clock = clock
        self._health = health
        self._counted = counted
        self._meter = Meter(topic, clock, metrics)
        self._topic = topic
        self._places: dict[int, _Place] = {}
        self._checked_at = -math.inf
        self._applier = ThreadPoolExecutor(1, thread_name_prefix="trends-apply")
        self._in_flight: _InFlight | None = None

    def run(self, stop: threading.Event) -> None:
        """Turn until `stop` is set; what a turn has taken it has also counted.

        Raises:
            DependencyError: Kafka or Redis refuses us for good.
        """
        while not stop.is_set():
            self.run_once()
        self._catch_up()

    def run_once(self) -> None:
        """One turn; it takes at most `_TURN_S` and the time of the store.

        Where more is waiting the last records may still be being counted when it ends.
        """
        if self._in_flight is None:
            self._look()
        self._place()
        taken = self._source.take(self._max_records, _TURN_S)  # 1. consume
        self._follow(taken)
        pieces = list(_pieces(taken.records))
        for piece in pieces:
            read = [self._decode(*of_partition) for of_partition in piece]  # 2. decode
            parts = [part for one in read if (part := self._aggregate(one)) is not None]
            prepared = self._store.prepare([part.batch for part in parts])  # 3. aggregate
            self._catch_up()
            if piece is pieces[-1]:  # behind it nothing is left that was taken from another place
                self._place()
            self._apply(parts, prepared)  # 4. apply
        if sum(map(len, taken.records.values())) < self._max_records:
            self._catch_up()  # 5. tell
        self._commit()  # 6. commit
        for partition, place in self._places.items():
            _, high = self._source.bounds(partition)
            self._meter.behind(partition, place.reached, high, place.taken_ms)
        self._health.beat()

    def _catch_up(self) -> None:
        """See what became of what was applied, tell of it, and look around, while the store has time."""
        self.settle()
        self._feed.flush()
        self._look()

    def _decode(self, partition: int, records: Sequence[Record]) -> _Read:
        """What some records hold."""
        trace = self._traces.counting(partition, records)
        try:
            return _Read(partition, records, decode(records, self._reading, self._read), trace)
        except RegistryAwayError:
            return _Read(partition, records, None, trace)

    def _aggregate(self, read: _Read) -> _Part | None:
        """One batch of what they hold; `None` where they are not to be counted."""
        partition, records, decoded, trace = read
        with trace.current():
            if decoded is None:
                self._put_off()
            place = self._places.get(partition)
            if decoded is not None and place is not None and self._continues(partition, place, records):
                batch = aggregate(
                    partition,
                    place.next,
                    records[-1].offset + 1,
                    decoded.events,
                    deletions=decoded.deletions,
                    outside=decoded.outside,
                )
                place.next = batch.end
                return _Part(place, batch, decoded, records[-1].timestamp_ms, trace)
        trace.ended(counted=False)
        return None

    def settle(self) -> None:
        """See what became of the batches that are being applied, if there are any.

        Raises:
            StoreRefusedError: the store is there and does not want us.
        """
        in_flight, self._in_flight = self._in_flight, None
        if in_flight is None:
            return
        outcomes: Sequence[Outcome | None] = [None] * len(in_flight.parts)
        try:
            outcomes = in_flight.outcomes.result()
            self._redis.works()
        except StoreUnavailableError as error:
            with in_flight.parts[0].trace.current():
                self._hold(error)
        finally:
            for part, outcome in zip(in_flight.parts, outcomes, strict=True):
                with part.trace.current():
                    counted = outcome is not None and self._see(part, outcome)
                part.trace.ended(counted=counted)

    @property
    def reached(self) -> dict[int, int]:
        """By partition that is being read, the offset before which nothing is left to count."""
        return {partition: place.reached for partition, place in self._places.items()}

    @property
    def _reading(self) -> Reading:
        return Reading() if self._watch is None else self._watch.reading

    def _look(self) -> None:
        """See which queries are tracked, before anything is counted without them."""
        if self._watch is not None and self._redis.due:
            try:
                self._watch.refresh()
            except StoreUnavailableError as error:
                self._hold(error)

    def _place(self) -> None:
        """Ask the store where to read on, where that is not known or was not asked for long."""
        now = self._clock.monotonic()
        known = self._source.assigned <= self._places.keys()
        if known and (now - self._checked_at < _CHECK_S or self._in_flight is not None):
            return
        self.settle()  # or it would stand behind what is being counted
        if not (self._redis.due and self._ready()):
            return
        try:
            stored = self._store.open(self._source.assigned)
        except StoreUnavailableError as error:
            self._hold(error)
            return
        self._redis.works()
        self._checked_at = now
        for partition, position in stored.items():
            place = self._places.get(partition)
            if place is not None and place.position != position:
                self._forget(partition, f"redis has {position}, not {place.position}")
            if partition not in self._places:
                self._place_at(partition, position)

    def _place_at(self, partition: int, position: Position | None) -> None:
        offset = None if position is None else position.offset
        if self._source.place(partition, offset):
            self._places[partition] = _Place(position, offset or 0, offset or 0)
            log.info("%s/%d: counting from %s", self._topic, partition, offset or "the beginning")

    def _hold(self, error: StoreUnavailableError) -> None:
        """The store is away: forget every place, because what was asked of it may have happened.

        Raises:
            StoreRefusedError: it is there and does not want us.
        """
        if isinstance(error, StoreRefusedError):
            raise error
        self._redis.failed(error.reason)
        self._put_off()

    def _put_off(self) -> None:
        """Forget every place, and go there again when what is missing is back."""
        self._places.clear()
        self._source.hold()

    def _forget(self, partition: int, reason: str) -> None:
        """The store does not stand where we believed: go to where it does, in the next turn."""
        self._meter.rewound()
        log.warning("%s/%d: %s: going there", self._topic, partition, reason)
        del self._places[partition]

    def _follow(self, taken: Taken) -> None:
        """Keep up with the group and with the ends of the log."""
        self._health.set("assignment", self._source.joined)
        if taken.revoked:
            self.settle()
        for partition in taken.revoked:
            self._places.pop(partition, None)
            self._meter.gone(partition)
        for partition, end in taken.ends.items():
            if partition in self._places:
                self._places[partition].end = end

    def _continues(self, partition: int, place: _Place, records: Sequence[Record]) -> bool:
        """Whether records go on from their place; where the log itself has changed, say so and move it.

        Kafka's client goes to the beginning of a log that does not hold the offset it was sent to.
        """
        first = records[0].offset
        again = brought_again(records, {})
        if again is not None:
            self._forget(partition, f"the client brought offset {again.offset} again")
            return False
        low, high = self._source.bounds(partition)
        if first < place.next and not 0 <= high < place.next:
            self._forget(partition, f"kafka went back to {first} though {place.next} is in the log")
            return False
        if first < place.next:
            log.error(
                "%s/%d: the log ends at %d, before offset %d, which is already counted: the topic was "
                "created anew or has lost records. Counting all it holds, on top of what was counted; "
                "`moodstream trends rebuild` counts only what it holds",
                self._topic, partition, high, place.next,
            )  # fmt: skip
            place.next, place.counted, place.end, place.committed = first, first, -1, -1
        elif place.position is not None and place.next < min(first, low):
            log.error(
                "%s/%d: retention has removed the records from %d to %d before they were counted",
                self._topic, partition, place.next, min(first, low),
            )  # fmt: skip
        return True

    def _apply(self, parts: Sequence[_Part], prepared: Prepared) -> None:
        """Ask the store to count some batches. It answers later, while the next ones are prepared."""
        current = [part for part in parts if self._is_current(part)]
        if len(current) < len(parts):  # what became of those before them has moved a partition
            for part in parts:
                if not self._is_current(part):
                    part.trace.ended(counted=False)
            prepared = self._store.prepare([part.batch for part in current])
        if current:
            expected = [part.place.position for part in current]
            self._in_flight = _InFlight(current, self._applier.submit(self._timed, prepared, expected))

    def _timed(self, prepared: Prepared, expected: Sequence[Position | None]) -> list[Outcome]:
        with self._meter.timed():
            return prepared.apply(expected)

    def _is_current(self, part: _Part) -> bool:
        """Whether its partition is still read from where it was."""
        return self._places.get(part.batch.partition) is part.place

    def _see(self, part: _Part, outcome: Outcome) -> bool:
        """Move on behind a batch; false where its place is forgotten."""
        batch, place = part.batch, part.place
        current = self._is_current(part)
        if isinstance(outcome, OffsetLostError):
            if current:
                self._forget(batch.partition, f"redis has {outcome.stored}, not {outcome.expected}")
            return False
        if outcome.batch is not None:
            self._meter.counted(outcome.batch)
            self._counted(outcome.batch)
            self._feed.counted(outcome.batch)
        place.position, place.counted = outcome.position, batch.end
        if current and outcome.position.offset > batch.end:
            self._forget(batch.partition, f"another reader is ahead, at {outcome.position}")
            return False
        place.taken_ms = part.taken_ms
        self._meter.skipped(batch.partition, part.decoded)
        return True

    def _commit(self) -> None:
        moved = {
            partition: place.reached
            for partition, place in self._places.items()
            if place.reached > max(place.committed, 0)
        }
        if moved:
            self._source.commit(moved)
        for partition, offset in moved.items():
            self._places[partition].committed = offset


def _pieces(
    of_partitions: Mapping[int, Sequence[Record]],
) -> Iterator[list[tuple[int, Sequence[Record]]]]:
    """The records of all partitions, some at a time: one piece is decoded while another is applied."""
    piece: list[tuple[int, Sequence[Record]]] = []
    room = _PIECE
    for partition, records in of_partitions.items():
        at = 0
        while at < len(records):
            some = records[at : at + room]
            piece.append((partition, some))
            at, room = at + len(some), room - len(some)
            if not room:
                yield piece
                piece, room = [], _PIECE
    if piece:
        yield piece
