"""What became of some inputs, from the brokers' own files.

    python -m tests.chaos.trace BROKERS tweets/3/625 feedback/4/177

BROKERS is the folder that a broken promise leaves behind (`brokers/NAME/PARTITION`). For each input it says,
for each broker, every label and every committed offset that takes it in, who wrote it and when, and how that
transaction ended in that partition. One that was committed in one place and aborted in another would be
Kafka's fault; one without labels ours.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Collection, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from tests.chaos.log_files import Entry, entries

_LABELS, _OFFSETS = "emotion-labels", "__consumer_offsets"


class _Label(msgspec.Struct):
    input: str


_label = msgspec.json.Decoder(_Label).decode


class Told(NamedTuple):
    """One thing that was written about an input."""

    ref: str
    what: str
    """`label` or `offset N of GROUP`."""
    entry: Entry
    end: str
    """How its transaction ended in its partition: `commit`, `abort` or `open`."""

    def __str__(self) -> str:
        at = datetime.fromtimestamp(self.entry.timestamp_ms / 1000, UTC).strftime("%H:%M:%S.%f")[:-3]
        entry = self.entry
        where = f"{entry.partition}/{entry.offset}"
        return f"{self.ref}  {self.what}  {where}  producer {entry.producer}/{entry.epoch}  {at}  {self.end}"


def trace(broker: Path, refs: Collection[str], labels: str = _LABELS) -> Iterator[Told]:
    """All that a broker's files tell about inputs (`topic/partition/offset`)."""
    for partition in sorted(broker.iterdir()):
        topic = partition.name.rpartition("-")[0]
        if topic in (labels, _OFFSETS):
            yield from _of_partition(partition, refs, labels=topic == labels)


def _of_partition(partition: Path, refs: Collection[str], *, labels: bool) -> Iterator[Told]:
    open_: defaultdict[int, list[Told]] = defaultdict(list)
    for entry in entries(partition):
        if entry.marker is not None:
            for told in open_.pop(entry.producer, []):
                yield told._replace(end=entry.marker)
            continue
        for told in _label_of(entry, refs) if labels else _offset_of(entry, refs):
            if entry.transactional:
                open_[entry.producer].append(told)
            else:
                yield told._replace(end="commit")
    for left in open_.values():
        yield from left


def _label_of(entry: Entry, refs: Collection[str]) -> Iterator[Told]:
    if entry.value is not None and (ref := _label(entry.value).input) in refs:
        yield Told(ref, "label", entry, "open")


def _offset_of(entry: Entry, refs: Collection[str]) -> Iterator[Told]:
    """The key is version, group, topic and partition, the value version and offset (`OffsetCommitKey`)."""
    if entry.key is None or entry.value is None or struct.unpack_from(">h", entry.key)[0] > 1:
        return
    group, at = _text(entry.key, 2)
    topic, at = _text(entry.key, at)
    (number,) = struct.unpack_from(">i", entry.key, at)
    (offset,) = struct.unpack_from(">q", entry.value, 2)
    for ref in refs:
        place, _, wanted = ref.rpartition("/")
        if place == f"{topic}/{number}" and offset > int(wanted):
            yield Told(ref, f"offset {offset} of {group}", entry, "open")


def _text(data: bytes, at: int) -> tuple[str, int]:
    (length,) = struct.unpack_from(">h", data, at)
    return data[at + 2 : at + 2 + length].decode(), at + 2 + length


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("brokers", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.argument("refs", nargs=-1, required=True)
@click.option("--commits", default=3, show_default=True, help="How many of the offsets, the first ones.")
def main(brokers: Path, refs: tuple[str, ...], commits: int) -> None:
    """Say what became of the inputs REFS (topic/partition/offset), from the brokers' own files."""
    for broker in sorted(brokers.iterdir()):
        click.echo(broker.name)
        told = sorted(trace(broker, refs), key=lambda one: (one.ref, one.entry.timestamp_ms))
        for ref in refs:
            about = [one for one in told if one.ref == ref]
            offsets = [one for one in about if one.what != "label"]
            for one in about:
                if one.what == "label" or one in offsets[:commits]:
                    click.echo(f"  {one}")
            if not any(one.what == "label" for one in about):
                click.echo(f"  {ref}  no label")


if __name__ == "__main__":
    main()
