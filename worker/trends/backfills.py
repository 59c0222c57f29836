"""What is known of backfills: their days and models, and which of them are swapped in.

A swap is one value of one key, so that it is there or not, and nothing between. What is swapped in is a list:
the last one answers for its days, and whoever takes it away has again what was under it.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Any

import msgspec
from redis import Redis

from worker.errors import ConfigurationError
from worker.trends.keys import Keys
from worker.trends.places import Places, Swapped
from worker.trends.redis_connection import reaching, text
from worker.trends.store import StoreUnavailableError, drawn_generation

_EPOCH = date(1970, 1, 1)


class Backfill(msgspec.Struct, frozen=True):
    """One backfill."""

    name: str
    first: int
    """The first of its days, in days since the epoch, UTC."""
    end: int
    """The day after the last."""
    model: str
    """`name@version`."""
    begun_at: datetime
    generation: str = ""
    """Of its counts."""
    complete_at: datetime | None = None
    """When all of it was labelled and counted for the last time; None: not yet."""

    @property
    def days(self) -> tuple[str, str]:
        """Its first day and the day after its last, as people write them."""
        return day_text(self.first), day_text(self.end)


class Swap(msgspec.Struct, frozen=True):
    """One of the list."""

    name: str
    generation: str
    first: int
    end: int


_backfill = msgspec.json.Decoder(Backfill)
_swaps = msgspec.json.Decoder(list[Swap])
_Swaps = list[Swap]


class Backfills:
    """The backfills of one labels topic, in Redis."""

    def __init__(self, client: Redis, keys: Keys) -> None:
        """`keys`: of what is counted live."""
        self._client = client
        self._keys = keys

    def list(self) -> list[Backfill]:
        """All of them, by name.

        Raises:
            StoreUnavailableError: Redis does not answer, or holds something else.
        """
        with reaching():
            found = self._client.hvals(self._keys.backfills)
        return sorted(map(_read, found), key=lambda one: one.name)

    def find(self, name: str) -> Backfill | None:
        """The one of this name. Raises as `list` does."""
        with reaching():
            found = self._client.hget(self._keys.backfills, name)
        return None if found is None else _read(found)

    def begin(self, asked: Backfill) -> Backfill:
        """Note a backfill before anything is counted for it; answers it with the generation to be counted.

        From now on deletions that are counted live are done in it too.
        """
        state = self._of(asked.name).state
        with reaching():
            self._client.hsetnx(state, "generation", drawn_generation())
            begun = msgspec.structs.replace(
                asked, generation=text(self._client.hget(state, "generation") or b"")
            )
            self._put(begun)
        return begun

    def completed(self, name: str, at: datetime) -> None:
        """All of it is counted."""
        found = self.find(name)
        if found is not None:
            with reaching():
                self._put(msgspec.structs.replace(found, complete_at=at))

    def swapped(self) -> builtins.list[str]:
        """The names of those that are swapped in; the last one covers the others."""
        with reaching():
            return [swap.name for swap in read_swaps(self._client.get(self._keys.swaps))]

    def swap(self, backfill: Backfill) -> None:
        """Let it answer for its days from now on."""
        this = Swap(backfill.name, backfill.generation, backfill.first, backfill.end)
        self._change(lambda swaps: [*(swap for swap in swaps if swap.name != this.name), this])

    def take_out(self, name: str) -> None:
        """Let its days be answered for by what was there before."""
        self._change(lambda swaps: [swap for swap in swaps if swap.name != name])

    def forget(self, name: str) -> int:
        """Delete all that is counted for it; answers how many keys went.

        Raises:
            ConfigurationError: it is swapped in.
        """
        if name in self.swapped():
            raise ConfigurationError(
                [f"{name} is swapped in: `moodstream backfill swap {name} --undo` takes it out"]
            )
        keys = self._of(name)
        with reaching():
            gone = [
                key.decode() for key in self._client.scan_iter(match=f"{keys.tag}:b:{name}:*", count=1000)
            ]
            swept = sum(self._client.unlink(*gone[at : at + 1000]) for at in range(0, len(gone), 1000))
            # Last: deletions are done in it for as long as it holds something.
            self._client.hdel(self._keys.backfills, name)
        return swept

    def _of(self, name: str) -> Keys:
        return self._keys._replace(backfill=name)

    def _put(self, backfill: Backfill) -> None:
        self._client.hset(self._keys.backfills, backfill.name, msgspec.json.encode(backfill).decode())

    def _change(self, change: Callable[[_Swaps], _Swaps]) -> None:
        """Replace the list by another, unless somebody else is faster: then again."""

        def replace(pipeline: Any) -> None:
            swaps = change(read_swaps(pipeline.get(self._keys.swaps)))
            pipeline.multi()
            pipeline.set(self._keys.swaps, msgspec.json.encode(swaps))

        with reaching():
            self._client.transaction(replace, self._keys.swaps)


def read_swaps(stored: bytes | str | None) -> list[Swap]:
    """What the key of the swaps holds.

    Raises:
        StoreUnavailableError: it is not ours.
    """
    if stored is None:
        return []
    try:
        return _swaps.decode(stored)
    except msgspec.MsgspecError as error:
        raise _foreign(error) from error


def places_of(keys: Keys, generation: bytes | str | None, swaps: bytes | str | None) -> Places:
    """Where the counts of each day are, of the two values that say so."""
    live = None if generation is None else keys.prefix(text(generation))
    found = read_swaps(swaps)
    return Places(
        live,
        tuple(
            Swapped(keys._replace(backfill=swap.name).prefix(swap.generation), swap.first, swap.end)
            for swap in found
        ),
    )


def prefixes_of(keys: Keys, registered: Iterable[bytes | str]) -> list[str]:
    """What the keys of each backfill begin with; `registered`: the values of the hash `keys.backfills`.

    Raises:
        StoreUnavailableError: it is not ours.
    """
    found = sorted(map(_read, registered), key=lambda one: one.name)
    return [keys._replace(backfill=one.name).prefix(one.generation) for one in found]


def day_text(day: int) -> str:
    """A day since the epoch as people write it."""
    return (_EPOCH + timedelta(days=day)).isoformat()


def day_of(seconds: float) -> int:
    """The day since the epoch that a moment lies in."""
    return (datetime.fromtimestamp(seconds, UTC).date() - _EPOCH).days


def _read(stored: bytes | str) -> Backfill:
    try:
        return _backfill.decode(stored)
    except msgspec.MsgspecError as error:
        raise _foreign(error) from error


def _foreign(error: Exception) -> StoreUnavailableError:
    return StoreUnavailableError("redis", f"a backfill is not ours: {error}")
