"""Offsets of a partition only rise. A client that brings one again is not believed. Pure.

A record that is labelled twice is doubled, and no transaction and no committed offset would notice: both only
say where reading ends. That the client never does it is its promise, not ours; here it is looked at.
"""

from __future__ import annotations

from collections.abc import Iterable, MutableMapping

from worker.types import Record

Reached = MutableMapping[tuple[str, int], int]
"""The last offset that was taken, by topic and partition."""


def brought_again(records: Iterable[Record], reached: Reached) -> Record | None:
    """The first record whose offset is not behind all of its partition before it; None: all of them are.

    `reached` takes in those that are.
    """
    topic, partition, last = "", -1, -1
    for record in records:
        if record.partition != partition or record.topic != topic:  # records come in runs of one partition
            if partition >= 0:
                reached[topic, partition] = last
            topic, partition = record.topic, record.partition
            last = reached.get((topic, partition), -1)
        if record.offset <= last:
            return record
        last = record.offset
    if partition >= 0:
        reached[topic, partition] = last
    return None
