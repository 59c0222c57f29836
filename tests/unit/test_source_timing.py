from __future__ import annotations

import threading
from collections.abc import Generator, Sequence

import pytest

from worker.clock import ManualClock
from worker.sources.edges import Item
from worker.sources.forward import Forward
from worker.sources.lines import item_of
from worker.sources.timing import Timing


class Listed:
    name = "listed"

    def __init__(self, items: Sequence[Item | None]) -> None:
        self._items = items

    def items(self, cursor: int | None) -> Generator[Item | None]:
        yield from self._items


class Noted:
    """Notes when each batch came."""

    def __init__(self, clock: ManualClock) -> None:
        self._clock = clock
        self.batches: list[tuple[float, list[Item]]] = []

    def send(self, items: Sequence[Item]) -> None:
        self.batches.append((self._clock.now, list(items)))


def run(items: Sequence[Item | None], **timing: float) -> tuple[list[tuple[float, list[Item]]], float]:
    clock = ManualClock(0.0)
    noted = Noted(clock)
    Forward(noted, Timing(clock, **timing), clock, threading.Event()).run(Listed(items), None)
    return noted.batches, clock.now


def test_a_rate_is_kept_and_nothing_waits_long_in_a_batch() -> None:
    batches, took = run([Item(b"x", cursor=n) for n in range(101)], rate=50.0)
    assert took == pytest.approx(2.0, abs=0.05)
    assert sum(len(items) for _, items in batches) == 101
    assert 8 <= len(batches) <= 12


def test_gaps_are_kept_so_many_times_as_fast() -> None:
    batches, took = run([Item(b"a", at=100.0), Item(b"b", at=160.0), Item(b"c", at=130.0)], speed=60.0)
    assert took == pytest.approx(1.0)
    assert [item.value for _, items in batches for item in items] == [b"a", b"b", b"c"]


def test_without_a_rate_batches_are_large() -> None:
    batches, took = run([Item(b"x", cursor=n) for n in range(4500)])
    assert [len(items) for _, items in batches] == [2000, 2000, 500]
    assert took == 0


def test_told_to_stop_it_sends_what_it_has_taken() -> None:
    clock = ManualClock(0.0)
    noted, stop = Noted(clock), threading.Event()

    class Stopping(Listed):
        def items(self, cursor: int | None) -> Generator[Item | None]:
            yield Item(b"a", cursor=1)
            stop.set()
            yield Item(b"b", cursor=2)

    Forward(noted, Timing(clock), clock, stop).run(Stopping([]), None)
    assert [items for _, items in noted.batches] == [[Item(b"a", cursor=1)]]


@pytest.mark.parametrize(
    ("value", "key", "readable"),
    [
        (b'{"id":1,"text":"hi"}', b"1", True),
        (b'{"id":1,"text":"hi","author_id":"a"}', b"a", True),
        (b'{"id":1}', None, False),
        (b"\xff", None, False),
        (b'{"id":1,"text":"x","created_at":99999999999999}', None, False),
    ],
)
def test_what_a_worker_will_make_of_a_line(value: bytes, key: bytes | None, readable: bool) -> None:
    item = item_of(value, 3)
    assert (item.value, item.key, item.cursor, item.readable) == (value, key, 3, readable)
