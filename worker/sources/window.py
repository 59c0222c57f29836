"""The posts that were written lately, by which one that comes again is recognised."""

from __future__ import annotations

from collections import OrderedDict


class Window:
    """The last `most` keys; older ones are forgotten. Not for several threads."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._keys: OrderedDict[bytes, None] = OrderedDict()

    def add(self, key: bytes) -> bool:
        """Whether it is new; from now on it is not."""
        if key in self._keys:
            return False
        self._keys[key] = None
        if len(self._keys) > self._most:
            self._keys.popitem(last=False)
        return True
