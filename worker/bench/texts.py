"""Posts to measure with."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import msgspec


def read_texts(file: Path | None) -> list[str]:
    """The lines of `file` that hold something; without a file the demo's own posts."""
    if file is not None:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    posts = resources.files("worker.demo").joinpath("posts.jsonl").read_bytes().splitlines()
    return [msgspec.json.decode(line)["text"] for line in posts]
