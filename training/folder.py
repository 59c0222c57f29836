"""A folder that is there as a whole or not at all."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def finished_or_removed(output: Path) -> Iterator[Path]:
    """A folder to write to that gets the name `output` when all went well, and is removed when not."""
    unfinished = output.with_name(f".{output.name}.unfinished")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir(parents=True)
    try:
        yield unfinished
        unfinished.rename(output)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
