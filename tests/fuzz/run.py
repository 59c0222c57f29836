"""A fuzz run: records in, a real worker, and a checker that knows what was sent.

Every record that was sent has one outcome and no more: a label, a tombstone or a dead letter, each of which
says which record it stands for. Where the outcome is certain it is that one. The worker lives, ends when told
to, and its memory is watched all the time.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec
import numpy as np
from confluent_kafka import OFFSET_BEGINNING, Consumer, Message, Producer, TopicPartition
from numpy.typing import NDArray

from tests.fuzz.records import Fuzzed, Outcome, fuzzed
from tests.support.kafka import KafkaUnderTest, high_watermarks, unique
from tests.support.roles import RoleProcess
from worker.local.resident import Resident
from worker.stream.dead_letters import PREFIX, REDRIVEN

_PARTITIONS = {"tweets": 4, "feedback": 2}
_LARGE = {"max.message.bytes": "4000000", "retention.ms": "-1"}  # odd timestamps are old ones
_STILL_S = 120.0
_OUTCOMES: tuple[Outcome, ...] = ("label", "tombstone", "dead letter", "any")
_CODES = {outcome: code for code, outcome in enumerate(_OUTCOMES, 1)}

Progress = Callable[[str, int, int], None]
"""Told what is going on, how many are done, and of how many."""


class Found(msgspec.Struct, frozen=True):
    """What came of a run."""

    records: int
    seed: int
    model: str
    labelled: int
    tombstones: int
    dead_letters: int
    missing: int
    doubled: int
    wrong: int
    """Records with another outcome than the certain one."""
    dead_by_error: dict[str, int]
    sent_by_kind: dict[str, int]
    exit_code: int | None
    idle_mb: float
    """Resident memory of the worker before the first record."""
    max_mb: float
    """The most of it while it worked."""
    seconds: float
    """From its first record to its last."""
    examples: list[str]
    """`topic/partition/offset: kind: what is wrong` of the first few."""

    @property
    def good(self) -> bool:
        """Whether it was as promised, memory apart."""
        return not (self.missing or self.doubled or self.wrong) and self.exit_code == 0


class _Sent(NamedTuple):
    """What one partition holds, by offset."""

    expected: list[int]
    kinds: list[str]


class _Topics(NamedTuple):
    inputs: dict[str, str]
    """Name by role."""
    labels: str
    dead: str


def run(
    kafka: KafkaUnderTest,
    records: int,
    seed: int,
    *,
    model: str,
    folder: Path,
    progress: Progress = lambda doing, done, of: None,
) -> Found:
    """Send `records` records of a seed through a worker and check every outcome.

    Args:
        kafka: A real one.
        records: How many.
        seed: The same seed sends the same records.
        model: `model.backend` of the worker: null, openvino, torch.
        folder: For the worker's log.
        progress: For people.

    Raises:
        AssertionError: the worker died, or has finished nothing for two minutes.
    """
    topics = _Topics(
        {name: kafka.topic(name, partitions=n, **_LARGE) for name, n in _PARTITIONS.items()},
        kafka.topic("labels", partitions=4, **_LARGE),
        kafka.topic("dead", partitions=3, **_LARGE),
    )
    group = unique("worker")
    worker = RoleProcess("worker", folder / "worker.log", _environment(kafka, topics, group, model))
    try:
        worker.start()
        _until(worker.ready, worker)
        pid = worker.pid
        assert pid is not None
        with Resident(pid) as resident:
            time.sleep(3)
            idle_mb = resident.now_mb
            start = time.monotonic()
            sent = _send(kafka.bootstrap, topics, fuzzed(seed, records), records, progress)
            _await_committed(kafka.bootstrap, group, sent, worker, records, progress)
            seconds = time.monotonic() - start
        exit_code = worker.stop()
    finally:
        worker.kill()
    tally = _Tally(sent)
    for number, message in enumerate(_all(kafka.bootstrap, topics.labels, topics.dead)):
        tally.take(message, dead=message.topic() == topics.dead)
        progress("checking", number + 1, records)
    tally.judge()
    return Found(
        records=records,
        seed=seed,
        model=model,
        labelled=tally.outcomes["label"],
        tombstones=tally.outcomes["tombstone"],
        dead_letters=tally.outcomes["dead letter"],
        missing=tally.missing,
        doubled=tally.doubled,
        wrong=tally.wrong,
        dead_by_error=dict(tally.errors.most_common()),
        sent_by_kind=dict(Counter(kind for one in sent.values() for kind in one.kinds).most_common()),
        exit_code=exit_code,
        idle_mb=round(idle_mb, 1),
        max_mb=round(resident.max_mb, 1),
        seconds=round(seconds, 1),
        examples=tally.examples,
    )


def _environment(kafka: KafkaUnderTest, topics: _Topics, group: str, model: str) -> dict[str, str]:
    return {
        "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
        "MOODSTREAM_TOPICS__INPUTS": ",".join(topics.inputs.values()),
        "MOODSTREAM_TOPICS__LABELS": topics.labels,
        "MOODSTREAM_TOPICS__DEAD_LETTERS": topics.dead,
        "MOODSTREAM_TOPICS__CONTROL": kafka.topic("control"),
        "MOODSTREAM_WORKER__GROUP_ID": group,
        "MOODSTREAM_MODEL__BACKEND": model,
    }


def _send(
    bootstrap: str, topics: _Topics, records: Iterator[Fuzzed], n: int, progress: Progress
) -> dict[tuple[str, int], _Sent]:
    """Write all of them, each partition in one order, and say what lies where."""
    places = [(topics.inputs[name], number) for name, of in _PARTITIONS.items() for number in range(of)]
    sent = {place: _Sent([], []) for place in places}
    refused: list[str] = []
    producer = Producer(
        {
            "bootstrap.servers": bootstrap,
            "linger.ms": 20,
            "enable.idempotence": True,
            "message.max.bytes": 4_000_000,
            "on_delivery": lambda error, _message: refused.append(error.str()) if error else None,
        }
    )
    for number, record in enumerate(records):
        topic, partition = place = places[number % len(places)]
        while True:
            try:
                producer.produce(
                    topic,
                    record.value,
                    record.key,
                    partition,
                    timestamp=record.timestamp_ms,
                    headers=list(record.headers),
                )
                break
            except BufferError:
                producer.poll(0.1)
        sent[place].expected.append(_CODES[record.expected])
        sent[place].kinds.append(record.kind)
        producer.poll(0)
        progress("sending", number + 1, n)
    assert producer.flush(60) == 0
    assert not refused, refused[0]
    for name in topics.inputs.values():
        for partition, end in high_watermarks(bootstrap, name).items():
            assert end == len(sent[name, partition].kinds)  # so an offset is the place in these lists
    return sent


def _await_committed(
    bootstrap: str,
    group: str,
    sent: dict[tuple[str, int], _Sent],
    worker: RoleProcess,
    n: int,
    progress: Progress,
) -> None:
    """Return when the group has committed everything."""
    probe = Consumer({"bootstrap.servers": bootstrap, "group.id": group})
    partitions = [TopicPartition(*place) for place in sent]
    done, at = -1, time.monotonic()
    try:
        while done < n:
            now = sum(max(0, found.offset) for found in probe.committed(partitions, 30))
            if now > done:
                done, at = now, time.monotonic()
            assert worker.alive, f"the worker ended: {worker.log[-3000:]}"
            assert time.monotonic() - at < _STILL_S, f"{done} of {n} done, and nothing for {_STILL_S:g} s"
            progress("labelling", done, n)
            time.sleep(0.2)
    finally:
        probe.close()


class _Label(msgspec.Struct):
    input: str


class _Tally:
    """Every outcome against what was sent."""

    def __init__(self, sent: dict[tuple[str, int], _Sent]) -> None:
        self._sent = sent
        self._seen: dict[tuple[str, int], NDArray[np.uint8]] = {
            place: np.zeros(len(one.kinds), dtype=np.uint8) for place, one in sent.items()
        }
        self._decode = msgspec.json.Decoder(_Label).decode
        self.outcomes: Counter[str] = Counter()
        self.errors: Counter[str] = Counter()
        self.missing = self.doubled = self.wrong = 0
        self.examples: list[str] = []

    def take(self, message: Message, *, dead: bool) -> None:
        """One label, tombstone or dead letter."""
        outcome: Outcome
        value = message.value()
        headers = {} if not dead and value is not None else dict(message.headers() or [])
        facts = {
            name.removeprefix(PREFIX): fact.decode()
            for name, fact in headers.items()
            if isinstance(fact, bytes) and name.startswith(PREFIX) and not name.startswith(REDRIVEN)
        }
        if dead:
            outcome = "dead letter"
            topic, partition, offset = facts["topic"], facts["partition"], facts["offset"]
            self.errors[facts["error"]] += 1
        else:
            outcome = "tombstone" if value is None else "label"
            said = facts["input"] if value is None else self._decode(value).input
            topic, partition, offset = said.split("/")
        self.outcomes[outcome] += 1
        place, at = (topic, int(partition)), int(offset)
        sent, seen = self._sent[place], self._seen[place]
        seen[at] += 1
        if sent.expected[at] not in (_CODES[outcome], _CODES["any"]):
            self.wrong += 1
            self._note(place, at, f"a {outcome}, and not a {_OUTCOMES[sent.expected[at] - 1]}")

    def judge(self) -> None:
        """After the last."""
        for place, seen in self._seen.items():
            self.missing += int((seen == 0).sum())
            self.doubled += int((seen > 1).sum())
            for at in np.flatnonzero(seen != 1)[:3].tolist():
                self._note(place, at, f"{seen[at]} outcomes")

    def _note(self, place: tuple[str, int], at: int, what: str) -> None:
        if len(self.examples) < 10:
            self.examples.append(f"{place[0]}/{place[1]}/{at}: {self._sent[place].kinds[at]}: {what}")


def _until(holds: Callable[[], bool], worker: RoleProcess, within_s: float = 120.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert worker.alive, f"the worker ended: {worker.log[-3000:]}"
        assert time.monotonic() < deadline, f"not ready after {within_s:g} s: {worker.log[-3000:]}"
        time.sleep(0.1)


def _all(bootstrap: str, *topics: str) -> Iterator[Message]:
    """Every committed record of some topics, a few at a time."""
    for topic in topics:
        ends = {number: end for number, end in high_watermarks(bootstrap, topic).items() if end > 0}
        reader = Consumer(
            {
                "bootstrap.servers": bootstrap,
                "group.id": unique("reader"),
                "isolation.level": "read_committed",
                "enable.auto.commit": False,
                "enable.partition.eof": True,
                "queued.max.messages.kbytes": 32 * 1024,
            }
        )
        try:
            reader.assign([TopicPartition(topic, number, OFFSET_BEGINNING) for number in ends])
            while ends:
                for message in reader.consume(1000, 1.0):
                    number, offset = message.partition() or 0, message.offset() or 0
                    if message.error() is None:
                        yield message
                        offset += 1
                    if offset >= ends.get(number, 0):
                        ends.pop(number, None)
        finally:
            reader.close()
