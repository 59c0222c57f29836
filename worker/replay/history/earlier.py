"""The labels that the stream gave to the same posts, joined by `input` (topic/partition/offset), or by id."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable

import msgspec
import numpy as np
from numpy.typing import NDArray

from worker.clock import SystemClock
from worker.errors import BadRecordError, ConfigurationError
from worker.replay.history.bounds import Bound
from worker.replay.history.contest import Answers
from worker.replay.history.ranges import find_ranges
from worker.replay.history.reader import RangeReader
from worker.settings import KafkaSettings
from worker.types import LABELS, LabelName, Record, Scores

_MARGIN_MS = 600_000
"""A label is written after its post, by clocks that may differ: so much before the first post one looks."""

log = logging.getLogger(__name__)


class EarlierLabel(msgspec.Struct, frozen=True):
    """What is needed of a label."""

    id: str | int
    label: LabelName
    scores: Scores
    neutral: float
    model: str
    input: str


ReadEarlier = Callable[[bytes], EarlierLabel]
in_json: ReadEarlier = msgspec.json.Decoder(EarlierLabel).decode


class Earlier(msgspec.Struct, frozen=True):
    """What was found in the labels topic."""

    topic: str
    read: int
    """Labels looked at."""
    by_input: int
    by_id: int
    """Posts that got their label by each way."""
    repeated: int
    """Further labels of a post that had one: the last counts."""
    unreadable: int
    models: dict[str, int]
    """Posts by the model that labelled them."""


class Rows:
    """Where the posts of a replay lie, to find them again.

    Args:
        topic: Its name.
        partition: (n,)
        offset: (n,)
        ids: (n) None where a record is no post.
    """

    def __init__(
        self,
        topic: str,
        partition: NDArray[np.int64],
        offset: NDArray[np.int64],
        ids: list[str | None],
    ) -> None:
        self._prefix = f"{topic}/"
        self._key = (partition.astype(np.int64) << 48) | offset.astype(np.int64)
        self._order = np.argsort(self._key, kind="stable")
        self._sorted = self._key[self._order]
        self._by_id: dict[str, int] = {}
        for row, post_id in enumerate(ids):
            if post_id is not None:
                self._by_id.setdefault(post_id, row)

    def __len__(self) -> int:
        return len(self._key)

    def at(self, where: str) -> int | None:
        """The row of an input, `topic/partition/offset`; None where it is not in the range."""
        partition, _, offset = where.removeprefix(self._prefix).partition("/")
        if not (partition.isdecimal() and offset.isdecimal() and len(offset) < 15):
            return None
        key = (int(partition) << 48) | int(offset)
        place = int(np.searchsorted(self._sorted, key))
        found = place < len(self._sorted) and self._sorted[place] == key
        return int(self._order[place]) if found else None

    def is_here(self, where: str) -> bool:
        """Whether an input lies in this topic."""
        return where.startswith(self._prefix)

    def named(self, post_id: str) -> int | None:
        """The first row of an id."""
        return self._by_id.get(post_id)


def find_earlier(
    kafka: KafkaSettings, topic: str, rows: Rows, first_ms: int, read: ReadEarlier
) -> tuple[Earlier, Answers]:
    """The earlier label of each row, None where there is none; of several the last written.

    A label of another topic's post (of which this topic is a copy, say) is joined by id.

    Args:
        kafka: Where it is.
        topic: The labels' topic.
        rows: What labels are wanted for.
        first_ms: Kafka's time of the oldest of them: older labels are not looked at; -1 to read them all.
        read: What a label is written in.

    Raises:
        ConfigurationError: there is no such topic, it is empty, or no label of it belongs to these posts.
        DependencyError: Kafka cannot be reached.
    """
    start = Bound("time", max(0, first_ms - _MARGIN_MS)) if first_ms >= 0 else Bound("beginning")
    found = find_ranges(kafka, topic, start, Bound("end"))
    taken = _Taken(len(rows), read)
    reader = RangeReader(kafka, topic, found.ranges, SystemClock())
    try:
        for some in reader:
            for record in some.records:
                taken.take(record, rows)
    finally:
        reader.close()
    if not taken.by_input and not taken.by_id:
        raise ConfigurationError(
            [
                f"--against {topic}: none of its {taken.read} labels belongs to a post of the range"
                f" ({taken.unreadable} are no labels)"
            ]
        )
    return taken.summary(topic), taken.answers


class _Taken:
    """Labels by the row that they belong to."""

    def __init__(self, rows: int, read: ReadEarlier) -> None:
        self._read_label = read
        self.read = self.unreadable = 0
        self.by_input: dict[int, str] = {}
        self.by_id: dict[int, str] = {}
        self._repeated = 0
        self._label = np.full(rows, -1, dtype=np.int8)
        self._scores = np.full((rows, 6), np.nan)
        self._neutral = np.full(rows, np.nan)

    def take(self, record: Record, rows: Rows) -> None:
        """Look at one message of the labels topic."""
        if record.value is None:
            return
        self.read += 1
        try:
            label = self._read_label(record.value)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, BadRecordError):
            self.unreadable += 1
            return
        if rows.is_here(label.input):
            self._keep(rows.at(label.input), label, self.by_input)
        else:
            self._keep(rows.named(str(label.id)), label, self.by_id)

    def _keep(self, row: int | None, label: EarlierLabel, by: dict[int, str]) -> None:
        if row is None or (by is self.by_id and row in self.by_input):
            return
        self._repeated += row in by
        by[row] = label.model
        if by is self.by_input:
            self.by_id.pop(row, None)
        self._label[row] = LABELS.index(label.label)
        self._scores[row] = msgspec.structs.astuple(label.scores)
        self._neutral[row] = label.neutral

    @property
    def answers(self) -> Answers:
        """A row for each row."""
        names = [None if index < 0 else LABELS[index] for index in self._label.tolist()]
        return Answers(names, self._scores, self._neutral)

    def summary(self, topic: str) -> Earlier:
        """What is reported."""
        models = Counter([*self.by_input.values(), *self.by_id.values()])
        return Earlier(
            topic=topic,
            read=self.read,
            by_input=len(self.by_input),
            by_id=len(self.by_id),
            repeated=self._repeated,
            unreadable=self.unreadable,
            models=dict(models.most_common()),
        )
