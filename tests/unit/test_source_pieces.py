"""Lines, events, windows, statuses and waits: the pure parts of Mastodon's and X's sources."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.clock import ManualClock
from worker.sources import statuses
from worker.sources.api import Splitter
from worker.sources.sse import Event, Events
from worker.sources.window import Window
from worker.sources.x_waits import Waits


@given(st.lists(st.binary(max_size=20)), st.data())
def test_lines_are_the_same_however_they_come(pieces: list[bytes], data: st.DataObject) -> None:
    whole = b"".join(pieces) + b"\n"
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=5)))
    split = Splitter()
    found = [
        line for at, to in zip([0, *cuts], [*cuts, len(whole)], strict=True) for line in split(whole[at:to])
    ]
    assert found == [line.removesuffix(b"\r") for line in whole.split(b"\n")[:-1]]


@pytest.mark.parametrize("size", [1, 3, 1000])
def test_of_a_line_that_is_too_long_the_beginning_is_kept(size: int) -> None:
    split, said = Splitter(most=10), b"short\n" + b"x" * 100 + b"\nnext\n"
    found = [line for at in range(0, len(said), size) for line in split(said[at : at + size])]
    assert found == [b"short", b"x" * 10, b"next"]


def events(lines: Sequence[bytes]) -> list[Event]:
    take = Events()
    return [event for line in lines if (event := take(line)) is not None]


def test_events_out_of_lines() -> None:
    lines = [
        b":)", b"", b"event: update", b"data: {", b":thump", b"data:  1}", b"", b"data", b"", b"id: 5",
        b"event: nothing", b"", b"data:x", b"", b"event: cut", b"data: off",
    ]  # fmt: skip
    assert events(lines) == [Event("update", b"{\n 1}"), Event("message", b""), Event("message", b"x")]


def test_of_data_without_end_the_beginning_is_kept() -> None:
    [event] = events([*[b"data: " + b"x" * 1000] * 1000, b""])
    assert 500_000 < len(event.data) <= 512 * 1024


def test_a_window_forgets_the_oldest() -> None:
    window = Window(2)
    assert [window.add(key) for key in (b"a", b"b", b"a", b"c", b"a")] == [True, True, False, True, True]


def status(**more: object) -> bytes:
    said = {"id": "9", "content": "<p>hi</p>", "account": {"id": "5"}, "language": "en-GB"} | more
    return json.dumps(said).encode()


def test_what_a_status_is() -> None:
    plain = statuses.read(status(created_at="2026-05-04T18:00:00.000Z"))
    assert plain == statuses.Status("9", "hi", "en-GB", 1777917600.0, None, is_reblog=False)
    again = statuses.read(status(reblog={"id": "8"}))
    assert again is not None
    assert again.is_reblog


@pytest.mark.parametrize(
    "value",
    [
        b"", b"[]", b"\xff", b"[" * 100_000, status(id=9), status(id="a/b"), status(id="x" * 65),
        status(content=None), status(account=None),
    ],
)  # fmt: skip
def test_what_is_no_status(value: bytes) -> None:
    assert statuses.read(value) is None


@pytest.mark.parametrize(
    ("data", "found"),
    [(b"123", "123"), (b" 9xY \n", "9xY"), (b"", None), (b"{}", None), (b"\xff", None), (b"1 2", None)],
)
def test_the_id_of_a_deletion(data: bytes, found: str | None) -> None:
    assert statuses.deleted(data) == found


@pytest.mark.parametrize(
    ("status_id", "cursor"),
    [
        ("0", 0),
        ("115", 115),
        (str(2**63 - 2), 2**63 - 2),
        (str(2**63), None),
        ("9xY", None),
        ("\u0663", None),
    ],
)
def test_ids_that_are_cursors(status_id: str, cursor: int | None) -> None:
    assert statuses.cursor_of(status_id) == cursor


def test_ids_that_say_the_time() -> None:
    assert statuses.time_of(statuses.cursor_at(1_777_000_000.5)) == 1_777_000_000.5
    assert statuses.time_of(12_345) is None


@pytest.mark.parametrize(
    ("link", "least"),
    [
        ('<https://a/x?limit=2&max_id=1>; rel="next", <https://a/x?limit=2&min_id=77>; rel="prev"', "77"),
        ("<https://a/x?min_id=5>; rel=prev", "5"),
        ('<https://a/x?min_id=5>; rel="next"', None),
        ("<" * 10_000 + "?min_id=1", None),
        ("", None),
    ],
)
def test_the_next_newer_page(link: str, least: str | None) -> None:
    assert statuses.newer_than(link) == least


@pytest.mark.parametrize(
    ("lang", "wanted", "is_in"),
    [("en", {"en"}, True), ("en-GB", {"en"}, True), ("EN", {"en"}, True), ("de", {"en"}, False),
     (None, {"en"}, False), (None, set(), True)],
)  # fmt: skip
def test_languages(lang: str | None, wanted: set[str], is_in: bool) -> None:
    assert statuses.in_languages(lang, frozenset(wanted)) is is_in


def test_a_broken_connection_is_tried_at_once_and_then_later_and_later() -> None:
    waits = Waits(ManualClock())
    assert waits.cut() == 0.25  # the first of all did not work
    waits.worked()
    assert [waits.cut() for _ in range(4)] == [0.0, 0.25, 0.5, 0.75]
    assert [waits.cut() for _ in range(100)][-1] == 16.0


def test_errors_and_limits_double() -> None:
    waits = Waits(ManualClock(1_777_000_000.0))
    assert [waits.refused(503, {}) for _ in range(9)] == [5, 10, 20, 40, 80, 160, 320, 320, 320]
    assert [waits.refused(429, {}) for _ in range(6)] == [60, 120, 240, 480, 960, 960]
    assert waits.refused(429, {"x-rate-limit-reset": "1777000100"}) == 101.0
    assert waits.refused(429, {"x-rate-limit-reset": "9999999999"}) == 960.0
    waits.worked()
    connections = {"x-rate-limit-reset": "1777000100", "x-rate-limit-remaining": "40"}
    assert waits.refused(429, connections) == 60.0  # too many connections: the reset is not the reason
    assert [waits.refused(429, {"x-rate-limit-reset": told}) for told in ("soon", "1")] == [120.0, 240.0]
