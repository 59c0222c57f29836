"""`moodstream topics inspect`: what lies among the dead letters, without texts. Read with kafka-python."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from kafka import KafkaConsumer, TopicPartition, errors

from worker.clock import Clock, SystemClock
from worker.errors import ConfigurationError, DependencyError
from worker.settings import KafkaSettings, Settings
from worker.stream.connection import kafka_python
from worker.stream.refusal import lacks
from worker.topics.connect import WAIT_S, connected
from worker.topics.letters import Letter, Wanted, letter_of
from worker.topics.marks import Marks, is_mark
from worker.types import Record

_POLL_MS = 500
_TAKE = 2000


@dataclass(slots=True)
class Found:
    """The letters asked for."""

    by_kind: Counter[str] = field(default_factory=Counter)
    by_topic: Counter[str] = field(default_factory=Counter)
    by_hour: Counter[str] = field(default_factory=Counter)
    """When they were found to be bad, UTC."""
    redriven: int = 0
    """How many were put back, whether counted above or not."""
    foreign: int = 0
    """Records that are no dead letters of ours."""
    newest: list[tuple[Letter, bool]] = field(default_factory=list)
    """The last of each partition, the newest first, and whether each was put back."""

    @property
    def n(self) -> int:
        """How many are counted."""
        return self.by_kind.total()


def inspect(
    settings: Settings,
    wanted: Wanted,
    *,
    show: int,
    redriven_too: bool = False,
    wait_s: float = WAIT_S,
    clock: Clock | None = None,
) -> Found:
    """Count the letters that are wanted, and keep the newest `show` of them.

    Args:
        settings: Where Kafka is, and what the topic is called.
        wanted: Which letters.
        show: How many to keep.
        redriven_too: Count and keep also those that were put back.
        wait_s: How long to wait for a broker that does not answer.
        clock: For tests.

    Raises:
        ConfigurationError: there is no topic of dead letters.
        DependencyError: no broker answered within `wait_s`, or it refused.
    """
    topic = settings.topics.dead_letters
    with connected(settings.kafka, wait_s=wait_s, clock=clock or SystemClock()) as admin:
        there = {found["name"] for found in admin.describe_topics()}
    if topic not in there:
        raise ConfigurationError([f"there is no topic {topic}: `moodstream topics create` makes it"])
    with _reading(settings.kafka, topic) as consumer:
        marks = Marks()
        for record in _records(consumer, wait_s):
            if is_mark(record):
                marks.add(record)
        letters = map(letter_of, (record for record in _records(consumer, wait_s) if not is_mark(record)))
        return _found(letters, marks, wanted, show=show, redriven_too=redriven_too)


def _found(
    letters: Iterable[Letter | None], marks: Marks, wanted: Wanted, *, show: int, redriven_too: bool
) -> Found:
    found = Found()
    kept: dict[int, deque[Letter]] = {}
    for letter in letters:
        if letter is None:
            found.foreign += 1
            continue
        if not wanted.matches(letter):
            continue
        done = _is_done(letter, marks)
        found.redriven += done
        if redriven_too or not done:
            found.by_kind[letter.kind] += 1
            found.by_topic[letter.topic] += 1
            found.by_hour[_hour(letter.found_at)] += 1
            kept.setdefault(letter.record.partition, deque(maxlen=show)).append(letter)
    newest = sorted((one for some in kept.values() for one in some), key=_age, reverse=True)[:show]
    found.newest = [(one, _is_done(one, marks)) for one in newest]
    return found


def _is_done(letter: Letter, marks: Marks) -> bool:
    return marks.has(letter.record.partition, letter.record.offset)


def _age(letter: Letter) -> tuple[float, int]:
    return letter.found_at, letter.record.offset


def _hour(at: float) -> str:
    try:
        return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%dT%H:00Z")
    except (OverflowError, ValueError, OSError):
        return "unknown"


@contextmanager
def _reading(kafka: KafkaSettings, topic: str) -> Iterator[KafkaConsumer]:
    """A consumer of a whole topic, in no group. Its errors become `DependencyError`."""
    try:
        consumer = KafkaConsumer(
            **kafka_python(kafka), isolation_level="read_committed", enable_auto_commit=False
        )
        try:
            numbers = consumer.partitions_for_topic(topic) or set()
            consumer.assign([TopicPartition(topic, number) for number in sorted(numbers)])
            yield consumer
        finally:
            consumer.close()
    except errors.AuthorizationError as error:
        raise DependencyError(f"Kafka at {kafka.bootstrap_servers}", f"{error}: {lacks(kafka)}") from error
    except errors.KafkaError as error:
        raise DependencyError(f"Kafka at {kafka.bootstrap_servers}", str(error)) from error


def _records(consumer: KafkaConsumer, wait_s: float) -> Iterator[Record]:
    """The committed records from the beginning to where the topic ends now.

    Raises:
        DependencyError: nothing came for `wait_s` seconds.
    """
    parts = sorted(consumer.assignment())
    consumer.seek_to_beginning(*parts)
    ends = consumer.end_offsets(parts)
    silent_ms = 0
    while any(consumer.position(part) < ends[part] for part in parts):
        taken = consumer.poll(timeout_ms=_POLL_MS, max_records=_TAKE)
        silent_ms = 0 if taken else silent_ms + _POLL_MS
        if silent_ms > wait_s * 1000:
            raise DependencyError("kafka", f"no answer within {wait_s:g} s")
        for part, messages in taken.items():
            yield from (_record(message) for message in messages if message.offset < ends[part])


def _record(message: Any) -> Record:
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        message.timestamp,
        [(name, value) for name, value in message.headers or []],
    )
