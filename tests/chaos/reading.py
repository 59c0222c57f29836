"""All topics, read_committed, and what trends count, as the checker takes them."""

from __future__ import annotations

import time
import zlib
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import msgspec
from confluent_kafka import Message

from tests.chaos.check import Cell, DeadLetter, Input, Label, Read, Tombstone
from tests.chaos.traffic import NUMBER
from tests.support.kafka import KafkaUnderTest, read_all
from worker.settings import Settings
from worker.trends.keys import Keys
from worker.trends.redis_store import RedisTrendStore, connected
from worker.trends.store import Filter
from worker.trends.windows import Window
from worker.types import Label as LabelMessage

_READ_S = 120.0
_OUTSIDE = -1


class Horizon(NamedTuple):
    """How far from when it was labelled a post may have been written to count in a bucket."""

    late_s: float
    early_s: float


class _Sent(msgspec.Struct):
    id: str
    text: str


_sent = msgspec.json.Decoder(_Sent).decode
_label = msgspec.json.Decoder(LabelMessage).decode


def drained(settings: Settings, group: str) -> bool:
    """Whether the workers' group has committed all that is in the input topics."""
    kafka = KafkaUnderTest(settings.kafka.bootstrap_servers)
    return all(kafka.all_committed(group, topic) for topic in settings.topics.inputs)


def read_everything(settings: Settings, sent: int, within_s: float) -> Read:
    """All of it; waits up to `within_s` for trends to have counted as many labels as there are."""
    bootstrap = settings.kafka.bootstrap_servers
    topics = settings.topics
    inputs = [
        one for topic in topics.inputs for one in map(_input, read_all(bootstrap, topic, within_s=_READ_S))
    ]
    horizon = Horizon(settings.trends.late_hours * 3600.0, settings.trends.early_hours * 3600.0)
    labels = [_outcome(message, horizon) for message in read_all(bootstrap, topics.labels, within_s=_READ_S)]
    dead = [_dead(message) for message in read_all(bootstrap, topics.dead_letters, within_s=_READ_S)]
    cells = [one.cell for one in labels if isinstance(one, Label)]
    return Read(sent, inputs, labels, dead, _settled(settings, cells, within_s))


def _settled(settings: Settings, cells: list[Cell], within_s: float) -> Counter[Cell]:
    """What trends count once it is what the labels add up to, else what it is after `within_s`."""
    expected = Counter(cells)
    deadline = time.monotonic() + within_s
    while read_trends(settings, cells) != expected and time.monotonic() < deadline:
        time.sleep(1.0)
    time.sleep(2.0)  # nothing may be counted on top
    return read_trends(settings, cells)


def read_trends(settings: Settings, cells: Iterable[Cell]) -> Counter[Cell]:
    """What the store of the product answers, for each source that was labelled and for all that were not.

    Counts without a source that is known come as source `?`, those outside the labels' time as `elsewhere`,
    labels outside the horizon as the minute -1 and their side of it.
    """
    cells = {cell for cell in cells if cell[0] != _OUTSIDE}
    if not cells:
        return Counter()
    minutes = [minute for minute, _, _ in cells]
    window = Window(min(minutes), max(minutes) + 60, 60)
    day = 86_400
    around = Window((window.start // day - 40) * day, (window.end // day + 41) * day, day)
    found: Counter[Cell] = Counter()
    with connected(settings.redis) as client:
        store = RedisTrendStore(client, Keys(settings.trends.namespace, settings.topics.labels))
        for source in sorted({source for _, _, source in cells}):
            for emotion, counts in store.read(window, Filter(source=source)).counts.items():
                for step, n in enumerate(counts):
                    if n:
                        found[window.start + 60 * step, emotion, source] += n
        total, named = store.read(window).n, found.total()
        found[0, "?", "?"] += total - named
        found[0, "?", "elsewhere"] += store.read(around).n - total
        found += Counter({(_OUTSIDE, side, ""): n for side, n in store.late().items()})
    return Counter({cell: n for cell, n in found.items() if n})


def _input(message: Message) -> Input:
    value, key = message.value(), _text(message.key())
    headers = dict(message.headers() or [])
    number = int(_text(headers[NUMBER]))
    ref = f"{message.topic()}/{message.partition()}/{message.offset()}"
    if value is None:
        return Input(ref, key, number, "deletion", 0)
    try:
        post = _sent(value)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return Input(ref, key, number, "poison", zlib.crc32(value))
    return Input(ref, key, number, "post", zlib.crc32(f"{post.id} {post.text}".encode()))


def _outcome(message: Message, horizon: Horizon) -> Label | Tombstone:
    value, key, partition = message.value(), _text(message.key()), message.partition() or 0
    if value is None:
        return Tombstone(partition, key)
    label = _label(value)
    content = zlib.crc32(f"{label.id} {label.text}".encode())
    return Label(partition, key, label.input, content, _cell(label, horizon), message.offset() or 0)


def _cell(label: LabelMessage, horizon: Horizon) -> Cell:
    """Where trends have to count a label. A worker's clock that steps puts some outside the horizon."""
    age = (label.labelled_at - label.created_at).total_seconds()
    if age > horizon.late_s:
        return (_OUTSIDE, "late", "")
    if -age > horizon.early_s:
        return (_OUTSIDE, "early", "")
    return (int(label.created_at.timestamp()) // 60 * 60, label.label, label.source)


def _dead(message: Message) -> DeadLetter:
    headers = dict(message.headers() or [])
    ref = "/".join(_text(headers[f"moodstream.{name}"]) for name in ("topic", "partition", "offset"))
    content = zlib.crc32(message.value() or b"")
    return DeadLetter(message.partition() or 0, _text(message.key()), ref, content, message.offset() or 0)


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
