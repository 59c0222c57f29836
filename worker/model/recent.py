"""What was found lately for a word, so that it need not be looked for again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Generic, TypeVar

Value = TypeVar("Value")


class Recent(Generic[Value]):
    """Word to what was found for it, for at most `capacity` words, dropping what has not been used lately.

    Two generations instead of a linked list: an exact LRU would cost a write per look-up. When the young
    generation is full it becomes the old one; an old word that is used again is young again.
    """

    def __init__(self, capacity: int) -> None:
        self.young: dict[str, Value] = {}
        self._old: dict[str, Value] = {}
        self._half = max(1, capacity // 2)

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def promote(self, words: Iterable[str]) -> list[str]:
        """Make the old ones of `words` young again; return those that neither generation knows."""
        unknown = []
        for word in words:
            found = self._old.pop(word, None)
            if found is None:
                unknown.append(word)
            else:
                self.young[word] = found
        return unknown

    def age(self) -> None:
        """Start a new generation if the young one is full. No `young` taken before is current after it."""
        if len(self.young) > self._half:
            self._old, self.young = self.young, {}
