"""`moodstream topics redrive`: dead letters back into the topics that they came from, each exactly once.

    1. fence      a redrive that hangs or was killed: what it left open is rolled back, what it did is done
    2. marks      which letters were put back before (`marks`)
    3. letters    from the first that waits to where the topic ends now
    4. put back   some hundred at a time: the records, their marks and the offset of the first letter that
                  still waits, in one transaction (KIP-447)

The offset only says where the next redrive may begin to read. Whether a letter was put back is what its mark
says, whatever was filtered for.

confluent-kafka, where the other commands take kafka-python: the transaction is the worker's own publisher,
with what it has learnt about brokers that go away, and a million letters are read in seconds.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

from worker.clock import Clock, SystemClock
from worker.settings import Settings
from worker.stream.patient_publisher import PatientPublisher
from worker.topics.connect import WAIT_S
from worker.topics.letters import Letter, Rules, Wanted, Why, letter_of, put_back, why_not
from worker.topics.log_reader import LogReader
from worker.topics.marks import Marks, is_mark, mark
from worker.types import OutRecord, Record, TopicPartition

_AT_ONCE = 500
_BYTES_AT_ONCE = 8 * 1024 * 1024

Progress = Callable[[int, int], None]
"""Told how many records were looked at, and of how many."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for."""

    wanted: Wanted
    max_redrives: int
    """A letter that was put back so often stays."""
    limit: int | None = None
    """Most letters."""
    dry_run: bool = False


@dataclass(slots=True)
class Report:
    """What was found and done."""

    redriven: Counter[tuple[str, str]] = field(default_factory=Counter)
    """By topic and kind; with a dry run those that would be."""
    left: Counter[Why] = field(default_factory=Counter)
    """Why the others stay, as far as they were looked at."""


def redrive(
    settings: Settings,
    order: Order,
    *,
    wait_s: float = WAIT_S,
    progress: Progress = lambda done, of: None,
    clock: Clock | None = None,
) -> Report:
    """Put back what is wanted and waits now; letters that come meanwhile are for the next time.

    Raises:
        ConfigurationError: there is no topic of dead letters.
        DependencyError: no broker answered within `wait_s`, or it refused.
        DataLossAvertedError: another redrive was started and goes on instead of this one.
    """
    clock = clock or SystemClock()
    topics, group = settings.topics, f"{settings.worker.group_id}-redrive"
    with LogReader(settings.kafka, topics.dead_letters, group, wait_s=wait_s, clock=clock) as reader:
        there = {name: reader.topics[name] for name in topics.redrivable if name in reader.topics}
        rules = Rules(there, topics.max_message_bytes, order.max_redrives)
        # One name for all redrives of a topic, so that a second one fences the first.
        sender = None if order.dry_run else PatientPublisher(
            settings, group, topics.dead_letters,
            outputs=(*topics.redrivable, topics.dead_letters), own=reader.group,
            wait_s=wait_s, clock=clock,
        )  # fmt: skip
        if sender is not None:
            sender.open()  # 1
        return _Redrive(reader, sender, order=order, rules=rules, progress=progress, clock=clock).run()


class _Redrive:
    """Steps 2 to 4."""

    def __init__(
        self,
        reader: LogReader,
        sender: PatientPublisher | None,
        *,
        order: Order,
        rules: Rules,
        progress: Progress,
        clock: Clock,
    ) -> None:
        self._reader = reader
        self._sender = sender
        self._order = order
        self._rules = rules
        self._clock = clock
        self._progress = progress
        self._report = Report()
        self._marks = Marks()
        self._batch: list[Letter] = []
        self._bytes = 0
        self._next: dict[TopicPartition, int] = {}
        self._first_left: dict[TopicPartition, int] = {}

    def run(self) -> Report:
        spans = self._reader.spans()
        total = 2 * sum(span.end - span.start for span in spans.values())
        done = 0
        for record in self._reader.read(spans):  # 2
            if is_mark(record):
                self._marks.add(record)
            done += 1
            self._progress(done, total)
        for record in self._reader.read(spans):  # 3
            if not self._look(record):
                break
            done += 1
            self._progress(done, total)
        self._flush()
        self._progress(total, total)
        return self._report

    def _look(self, record: Record) -> bool:
        """Put one letter with those to send, or leave it; false: enough."""
        where = TopicPartition(record.topic, record.partition)
        done = is_mark(record) or self._marks.has(record.partition, record.offset)
        letter = None if done else letter_of(record)
        if letter is not None:
            why = why_not(letter, self._order.wanted, self._rules)
            if why is not None:
                self._report.left[why] += 1
                self._first_left.setdefault(where, record.offset)
            elif self._enough:
                return False
            else:
                self._batch.append(letter)
                self._bytes += len(record.value or b"")
        self._next[where] = record.offset + 1
        if len(self._batch) >= _AT_ONCE or self._bytes >= _BYTES_AT_ONCE:
            self._flush()
        return True

    @property
    def _enough(self) -> bool:
        limit = self._order.limit
        return limit is not None and self._report.redriven.total() + len(self._batch) >= limit

    def _flush(self) -> None:
        """Step 4."""
        batch, self._batch, self._bytes = self._batch, [], 0
        if not batch:
            return
        if self._sender is not None:
            now = datetime.fromtimestamp(self._clock.time(), UTC)
            records = [put_back(letter, self._rules, now) for letter in batch]
            self._sender.send([*records, *_marks(batch)], {**self._next, **self._first_left})
        self._report.redriven.update((letter.topic, letter.kind) for letter in batch)


def _marks(letters: Iterable[Letter]) -> list[OutRecord]:
    """The marks of these letters, one for each partition."""
    offsets: defaultdict[TopicPartition, list[int]] = defaultdict(list)
    for letter in letters:
        offsets[TopicPartition(letter.record.topic, letter.record.partition)].append(letter.record.offset)
    return [mark(topic, partition, those) for (topic, partition), those in offsets.items()]
