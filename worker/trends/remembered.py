"""What is found out about one token, remembered: most tokens of a stream have come before."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

_MOST, _LONGEST = 100_000, 40
"""How many are remembered, and of how many characters: they are what strangers write. A full memory is
emptied: in a stream whose words have a Zipf distribution the common ones are back at once."""

_T = TypeVar("_T")


class Remembered(dict[str, _T]):
    """`remembered[token]` is what a function says of the token. `map` asks it without Python in between."""

    def __init__(self, find: Callable[[str], _T]) -> None:
        """`find`: a pure function."""
        super().__init__()
        self._find = find

    def __missing__(self, token: str) -> _T:
        found = self._find(token)
        if len(token) <= _LONGEST:
            if len(self) >= _MOST:
                self.clear()
            self[token] = found
        return found
