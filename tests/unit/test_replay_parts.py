"""What a replay reads: bounds, samples, parts."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.replay.history.bounds import Bound, parse_bound
from worker.replay.history.parts import Part, cut, in_parts, kept_by, still_to_read, stride
from worker.replay.history.ranges import Range
from worker.replay.history.reader import Read
from worker.replay.history.sample import Sample, parse_sample
from worker.types import Record

NOW = 1_767_268_800.0


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("beginning", Bound("beginning")),
        ("end", Bound("end")),
        ("offset:1000", Bound("offset", 1000)),
        ("-1h", Bound("time", 1_767_265_200_000)),
        ("2026-01-01T12:00:00.250Z", Bound("time", 1_767_268_800_250)),
    ],
)
def test_bounds(text: str, expected: Bound) -> None:
    assert parse_bound("--from", text, NOW) == expected


@pytest.mark.parametrize("text", ["1h", "offset:", "offset:-1", "offset:1.5", "offset:\u0661", "yesterday"])
def test_what_is_no_bound_is_refused_by_the_name_of_its_option(text: str) -> None:
    with pytest.raises(ValueError, match=r"^--to .*offset:"):
        parse_bound("--to", text, NOW)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("5000", Sample(number=5000)),
        ("1", Sample(number=1)),
        ("0.1", Sample(share=0.1)),
        (".25", Sample(share=0.25)),
        ("10%", Sample(share=0.1)),
        ("100%", Sample(share=1.0)),
        ("1.0", Sample(share=1.0)),
    ],
)
def test_samples(text: str, expected: Sample) -> None:
    assert parse_sample(text) == expected


@pytest.mark.parametrize("text", ["0", "0%", "0.0", "101%", "-5", "1.5", "half", "", "nan", "1e3"])
def test_what_is_no_sample_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="--sample"):
        parse_sample(text)


def test_a_number_of_posts_is_a_share_of_the_range() -> None:
    assert Sample(number=50).share_of(1000) == 0.05
    assert Sample(number=5000).share_of(1000) == 1
    assert Sample(share=0.3).share_of(0) == 0.3


def test_parts_are_longer_where_few_posts_of_them_are_kept() -> None:
    assert stride(1.0) < stride(0.1) < stride(1e-9) == stride(1e-12)


def record(offset: int, partition: int = 0, value: bytes | None = b"{}") -> Record:
    return Record("t", partition, offset, None, value, 0)


def everything(_: Record) -> bool:
    return True


def test_ranges_are_cut_by_offset_and_only_what_is_left_is_read() -> None:
    parts = cut([Range(1, 5, 12), Range(0, 3, 3), Range(2, 0, 1)], 4)
    assert parts == [Part(1, 5, 9), Part(1, 9, 12), Part(2, 0, 1)]
    assert still_to_read(parts[1:]) == [Range(1, 9, 12), Range(2, 0, 1)]
    assert sorted(part.name for part in parts) == [part.name for part in parts]


@st.composite
def logs(draw: st.DrawFn) -> tuple[dict[int, list[int]], dict[int, int]]:
    """Offsets with gaps of a few partitions, and where each ends."""
    offsets = draw(st.lists(st.lists(st.integers(0, 40), unique=True), min_size=1, max_size=3))
    log = {number: sorted(given) for number, given in enumerate(offsets)}
    ends = {number: max(given, default=-1) + 1 + draw(st.integers(0, 5)) for number, given in log.items()}
    return log, ends


def reads(log: dict[int, list[int]], ends: dict[int, int], order: list[int], most: int) -> Iterable[Read]:
    """The log in small bites, partitions in any order, the last one without records (the end of a log)."""
    at = dict.fromkeys(log, 0)
    reached = dict.fromkeys(log, 0)
    for number in [*order, *(one for one in log for _ in range(50))]:
        partition = number % len(log)
        taken = log[partition][at[partition] : at[partition] + most]
        at[partition] += len(taken)
        reached[partition] = taken[-1] + 1 if taken else max(reached[partition], ends[partition])
        yield Read([record(offset, partition) for offset in taken], dict(reached))


@given(logs(), st.lists(st.integers(0, 9), max_size=30), st.integers(1, 9), st.integers(1, 20))
def test_every_part_comes_once_with_its_records_whatever_the_order(
    made: tuple[dict[int, list[int]], dict[int, int]], order: list[int], most: int, offsets: int
) -> None:
    log, ends = made
    parts = cut([Range(number, 0, end) for number, end in ends.items()], offsets)
    found = dict(in_parts(reads(log, ends, order, most), parts, everything))
    assert set(found) == set(parts)
    for part, records in found.items():
        inside = [offset for offset in log[part.partition] if part.start <= offset < part.end]
        assert [one.offset for one in records] == inside


def test_records_of_parts_that_are_done_are_left_out() -> None:
    done, left = Part(0, 0, 3), Part(0, 3, 6)
    read = Read([record(offset) for offset in range(6)], {0: 6})
    assert [one.offset for one in dict(in_parts([read], [left], everything))[left]] == [3, 4, 5]
    assert [one.offset for one in dict(in_parts([read], [done], everything))[done]] == [0, 1, 2]


def post(post_id: str | int, offset: int = 0) -> Record:
    return record(offset, value=msgspec.json.encode({"id": post_id, "text": "so happy"}))


def test_a_sample_depends_on_the_id_alone_and_a_smaller_one_is_part_of_it() -> None:
    ids = [f"post-{number}" for number in range(4000)]
    tenth, half = kept_by(0.1), kept_by(0.5)
    kept = {one for one in ids if tenth(post(one))}
    assert kept == {one for number, one in enumerate(ids) if tenth(post(one, offset=number))}
    assert kept < {one for one in ids if half(post(one))}
    assert 320 < len(kept) < 480
    assert all(map(kept_by(1.0), map(post, ids)))
    assert [tenth(post(number)) for number in range(50)] == [tenth(post(str(number))) for number in range(50)]


def test_what_is_no_post_is_kept_to_be_counted() -> None:
    least = kept_by(1e-12)
    assert least(record(0, value=b"{"))
    assert least(record(0, value=None))
    assert not least(post("a"))
