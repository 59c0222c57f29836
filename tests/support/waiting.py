"""Waiting for something that happens in another process or thread, for so long and no longer."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(look: Callable[[], T], *, within_s: float = 10.0, every_s: float = 0.05) -> T:
    """Look until the answer is truthy, and return it; fails with the last answer after `within_s`."""
    deadline = time.monotonic() + within_s
    while not (seen := look()):
        if time.monotonic() > deadline:
            raise AssertionError(f"still {seen!r} after {within_s:g} s")
        time.sleep(every_s)
    return seen
