from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.model.batch import micro_batches, padded, read_pad_id, shortest_beside
from worker.stream.batch import Batch, BatchBuilder, Entry
from worker.stream.decode import Deletion
from worker.stream.pace import Budget, CostCurve, Promise
from worker.types import Post, Record, TopicPartition

LENGTHS = st.lists(st.integers(1, 40), max_size=60)


@given(LENGTHS, st.integers(1, 9), st.integers(1, 200), st.sampled_from([None, 1, 2, 5]))
def test_micro_batches_hold_every_row_once_and_keep_their_limits(
    lengths: list[int], max_rows: int, max_tokens: int, streams: int | None
) -> None:
    rows = [[index + 1] * length for index, length in enumerate(lengths)]
    seen: list[int] = []
    for part in micro_batches(rows, max_rows=max_rows, max_tokens=max_tokens, streams=streams):
        assert part.input_ids.shape == part.attention_mask.shape
        assert len(part.rows) <= max_rows
        assert part.input_ids.size <= max_tokens or len(part.rows) == 1
        for place, index in enumerate(part.rows.tolist()):
            mask = part.attention_mask[place].astype(bool)
            assert part.input_ids[place][mask].tolist() == rows[index]
            assert not part.input_ids[place][~mask].any()
        seen += part.rows.tolist()
    assert sorted(seen) == list(range(len(rows)))


def test_sorting_leaves_little_padding() -> None:
    rng = np.random.default_rng(1)
    rows = [[1] * int(n) for n in rng.integers(3, 64, 512)]
    taken = sum(part.input_ids.size for part in micro_batches(rows, max_rows=16, max_tokens=1024))
    assert taken < 1.05 * sum(map(len, rows))


def test_padding_is_filled_with_the_id_that_the_network_calls_padding() -> None:
    [part] = micro_batches([[5, 6], [7]], max_rows=2, max_tokens=9, pad_id=1)

    assert part.input_ids.tolist() == [[5, 6], [7, 1]]


@given(LENGTHS, st.integers(1, 9))
def test_a_runtime_that_remembers_shapes_meets_few(lengths: list[int], streams: int) -> None:
    for part in micro_batches([[1] * n for n in lengths], max_rows=16, max_tokens=1024, streams=streams):
        rows, length = part.input_ids.shape
        assert rows in (1, 2, 4, 8, 16)
        assert length == padded(length)


@pytest.mark.parametrize(
    ("lengths", "streams", "shapes"),
    [
        ([9, 5, 4], 1, [(2, 12), (1, 4)]),
        ([8] * 4, 4, [(4, 8)]),
        ([8] * 20, 2, [(8, 8), (4, 8), (4, 8), (4, 8)]),
        ([8] * 64, 2, [(16, 8)] * 3 + [(8, 8), (4, 8), (4, 8)]),
        ([100] * 16, 1, [(8, 108), (8, 108)]),
    ],
)
def test_every_stream_gets_an_equal_share_of_what_is_left(
    lengths: list[int], streams: int, shapes: list[tuple[int, int]]
) -> None:
    parts = micro_batches([[1] * n for n in lengths], max_rows=16, max_tokens=1024, streams=streams)

    assert [part.input_ids.shape for part in parts] == shapes


@given(st.lists(st.integers(1, 140), min_size=1, max_size=60), st.integers(1, 3))
def test_a_row_ends_in_a_whole_block_of_keys_or_in_a_part_of_one_whatever_stands_beside_it(
    lengths: list[int], streams: int
) -> None:
    """Attention takes 16 keys at a time; of a part of so many its sums are rounded otherwise."""
    parts = micro_batches([[1] * n for n in lengths], max_rows=16, max_tokens=1024, streams=streams)
    for part in parts:
        width = part.input_ids.shape[1]
        for row in part.rows.tolist():
            end = -(-lengths[row] // 16) * 16
            assert (width >= end) == (padded(lengths[row]) >= end)


@pytest.mark.parametrize(("length", "shortest"), [(1, -3), (12, -3), (13, 13), (28, 13), (29, 29), (44, 29)])
def test_rows_of_like_length_go_together(length: int, shortest: int) -> None:
    assert shortest_beside(length) == shortest


@pytest.mark.parametrize(
    ("length", "expected"),
    [(1, 4), (28, 28), (32, 32), (33, 40), (41, 44), (45, 48), (60, 60), (65, 76), (77, 80), (512, 512)],
)
def test_a_length_is_rounded_up_the_further_the_longer(length: int, expected: int) -> None:
    assert padded(length) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ('{"model_type": "roberta", "pad_token_id": 4}', 4),
        ('{"model_type": "roberta"}', 1),
        ('{"model_type": "bert", "pad_token_id": null}', 0),
        ('{"model_type": "distilbert"}', 0),
    ],
)
def test_the_padding_id_stands_in_the_configuration(config: str, expected: int, tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(config)

    assert read_pad_id(tmp_path / "config.json") == expected


def entry(offset: int, tokens: int, partition: int = 0) -> Entry:
    record = Record("tweets", partition, offset, None, b"", 0)
    return Entry(record, Post(id=offset, text="x"), None, [0] * tokens)


def builder(max_records: int = 10, max_tokens: int = 100, linger_s: float = 1.0) -> BatchBuilder:
    return BatchBuilder(max_records=max_records, pace=Budget(max_tokens), linger_s=linger_s)


def test_a_batch_is_due_when_its_first_entry_has_waited() -> None:
    building = builder()
    assert building.wait_s(5.0) is None
    building.add([entry(0, 1)], now=5.0)
    building.add([entry(1, 1)], now=5.9)
    assert building.wait_s(5.25) == 0.75
    assert building.wait_s(6.0) == 0.0
    assert [item.record.offset for item in building.take(0.0).entries] == [0, 1]
    assert building.wait_s(7.0) is None


def test_a_full_batch_is_due_at_once_and_the_rest_waits_its_turn() -> None:
    building = builder(max_tokens=100)
    building.add([entry(index, 30) for index in range(5)], now=0.0)
    assert building.full
    assert building.wait_s(0.0) == 0.0
    assert [item.record.offset for item in building.take(0.0).entries] == [0, 1, 2]
    assert building.wait_s(0.5) == 0.5
    assert [item.record.offset for item in building.take(0.0).entries] == [3, 4]


def test_an_entry_over_the_budget_goes_alone() -> None:
    building = builder(max_tokens=10)
    building.add([entry(0, 50), entry(1, 5)], now=0.0)
    assert len(building.take(0.0).entries) == 1
    assert len(building.take(0.0).entries) == 1


def large(offset: int, size: int) -> Entry:
    return Entry(Record("tweets", 0, offset, b"k" * (size // 2), b"v" * (size - size // 2), 0), Deletion(b""))


def test_large_records_make_small_batches() -> None:
    """A backlog of garbage has no word pieces: without this, thousands of 2 MB each would be one batch."""
    building = BatchBuilder(max_records=100, pace=Budget(100), linger_s=1.0, max_bytes=1000)
    building.add([large(0, 400), large(1, 400), large(2, 400), large(3, 5000), large(4, 100)], now=0.0)
    sizes: list[int] = []
    while len(building):
        assert building.full or sum(sizes) == 4
        sizes.append(len(building.take(0.0).entries))
    assert sizes == [2, 1, 1, 1]


def test_headers_are_as_large_as_values() -> None:
    building = BatchBuilder(max_records=100, pace=Budget(100), linger_s=1.0, max_bytes=1000)
    record = Record("tweets", 0, 0, None, None, 0, [("x", b"y" * 1000)])
    building.add([Entry(record, Deletion(b""))], now=0.0)
    assert building.full


def test_many_small_records_are_no_large_batch() -> None:
    building = BatchBuilder(max_records=10, pace=Budget(100), linger_s=1.0, max_bytes=1000)
    for offset in range(1000):
        building.add([large(offset, 100)], now=0.0)
        if offset % 5 == 4:
            assert not building.full
            assert len(building.take(0.0).entries) == 5


def test_dropped_partitions_leave_no_trace() -> None:
    building = builder(max_tokens=10)
    building.add([entry(0, 9, partition=0), entry(0, 9, partition=1)], now=0.0)
    building.drop({TopicPartition("tweets", 0)})
    assert not building.full
    assert building.take(0.0).positions() == {TopicPartition("tweets", 1): 1}


STEP = st.one_of(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 30), st.integers(0, 300)), min_size=1, max_size=20),
    st.just("take"),
    st.sets(st.integers(0, 3), min_size=1, max_size=2),
)


@given(st.lists(STEP, max_size=30), st.integers(1, 7))
def test_nothing_is_lost_or_reordered_and_no_batch_is_too_large(
    steps: list[list[tuple[int, int, int]] | str | set[int]], max_records: int
) -> None:
    """Arrivals, batches taken and partitions revoked in any order, against a plain list."""
    building = BatchBuilder(max_records=max_records, pace=Budget(60), linger_s=1.0, max_bytes=500)
    waiting: list[Entry] = []
    for number, step in enumerate([*steps, *(["take"] * 700)]):
        if isinstance(step, list):
            came = [
                Entry(
                    Record("tweets", p, number * 100 + i, b"k", b"v" * size, 0), Deletion(b""), None, [0] * n
                )
                for i, (p, n, size) in enumerate(step)
            ]
            building.add(came, now=0.0)
            waiting += came
        elif isinstance(step, set):
            gone = {TopicPartition("tweets", number) for number in step}
            building.drop(gone)
            waiting = [entry for entry in waiting if entry.partition not in gone]
        else:
            taken = building.take(0.0).entries
            assert taken == waiting[: len(taken)]
            assert bool(taken) == bool(waiting)
            assert len(taken) <= max_records
            assert len(taken) == 1 or sum(len(entry.tokens) for entry in taken) <= 60
            assert len(taken) <= 1 or sum(len(entry.record.value or b"") for entry in taken) <= 500
            waiting = waiting[len(taken) :]
        assert len(building) == len(waiting)
    assert not waiting


def test_positions_are_the_offsets_after_the_last() -> None:
    batch = Batch([entry(4, 1), entry(9, 1, partition=1), entry(7, 1)])
    assert batch.positions() == {TopicPartition("tweets", 0): 8, TopicPartition("tweets", 1): 10}
    assert batch.without({TopicPartition("tweets", 0)}).positions() == {TopicPartition("tweets", 1): 10}


def test_what_can_wait_does_while_posts_wait_or_are_committed_late() -> None:
    pace = Promise(0.1, CostCurve(0.001, 1e-5), 1000)
    builder = BatchBuilder(max_records=2, pace=pace, linger_s=0.01)
    written_s = 1_000.0
    record = Record("tweets", 0, 0, None, b"", int(written_s * 1000))
    entry = Entry(record, Post(id=1, text="x"), None, [1])
    done = Batch([entry])

    assert not builder.pressed(done, written_s + 0.07)
    assert builder.pressed(done, written_s + 0.09)
    unknown = Batch([Entry(Record("tweets", 0, 0, None, b"", -1), entry.what, None, [1])])
    assert not builder.pressed(unknown, written_s + 0.09)
    builder.add([entry, entry], 0.0)
    assert builder.pressed(done, written_s)
    free = BatchBuilder(max_records=2, pace=Budget(1000), linger_s=0.01)
    assert not free.pressed(done, written_s + 1e6), "without a promise nothing is late"
