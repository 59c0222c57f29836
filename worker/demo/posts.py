"""The sample posts of the demo, written for this project."""

from __future__ import annotations

from importlib import resources
from typing import Literal

import msgspec

from worker.types import LabelName

Topic = Literal["tweets", "feedback"]


class Sample(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One post: what it says, what its author meant, where such a post turns up."""

    text: str
    expected: LabelName
    """For people; never sent."""
    topic: Topic


def samples() -> tuple[Sample, ...]:
    """All of them, in the order of the file."""
    lines = resources.files("worker.demo").joinpath("posts.jsonl").read_bytes().splitlines()
    return tuple(msgspec.json.decode(line, type=Sample) for line in lines)
