"""What a broken promise leaves behind to be looked into.

The labels topic, offset by offset, and the brokers' own files: which transaction of whom was committed or
aborted, where, and when.
"""

from __future__ import annotations

import shutil
from collections.abc import Collection, Mapping
from pathlib import Path

import msgspec
from confluent_kafka import Message

from tests.support.kafka import read_all
from worker.settings import Settings

_READ_S = 120.0
FILE = "labels.tsv"


class _Seen(msgspec.Struct):
    input: str
    labelled_at: str


_seen = msgspec.json.Decoder(_Seen).decode


def keep_labels(settings: Settings, folder: Path) -> Path:
    """Write every record of the labels topic with whether it is committed, by two readers of their own.

    A record that one read_committed reader gets and another does not shows as a row whose last columns
    differ. Columns: partition, offset, input (`-` for a tombstone), labelled_at, key, and 1 for each of both
    that got it.
    """
    bootstrap, topic = settings.kafka.bootstrap_servers, settings.topics.labels
    rows: dict[tuple[int, int], str] = {}
    for message in read_all(bootstrap, topic, within_s=_READ_S, **{"isolation.level": "read_uncommitted"}):
        rows[_place(message)] = _row(message)
    committed = [
        {_place(message) for message in read_all(bootstrap, topic, within_s=_READ_S)} for _ in range(2)
    ]
    path = folder / FILE
    with path.open("w") as file:
        for place in sorted(rows.keys() | committed[0] | committed[1]):
            marks = "\t".join(str(int(place in seen)) for seen in committed)
            file.write(f"{place[0]}\t{place[1]}\t{rows.get(place, '?')}\t{marks}\n")
    return path


def keep_files(data: Mapping[str, Path], topics: Collection[str], folder: Path) -> Path:
    """Copy what brokers keep of some topics, and of transactions and committed offsets.

    Args:
        data: Of each broker, by its name, the folder with its partitions.
        topics: Some topics.
        folder: Where the copies go, under `brokers/NAME/PARTITION`.
    """
    wanted = {*topics, "__consumer_offsets", "__transaction_state"}
    for name, partitions in data.items():
        for partition in partitions.iterdir():
            if partition.name.rpartition("-")[0] in wanted:
                shutil.copytree(partition, folder / "brokers" / name / partition.name)
    return folder / "brokers"


def _place(message: Message) -> tuple[int, int]:
    return message.partition() or 0, message.offset() or 0


def _row(message: Message) -> str:
    value, key = message.value(), (message.key() or b"").decode(errors="replace")
    label = _Seen("-", "-") if value is None else _seen(value)
    return f"{label.input}\t{label.labelled_at}\t{key}"
