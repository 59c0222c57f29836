"""What the worker tells about the texts it takes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from prometheus_client import generate_latest

from worker.clock import ManualClock
from worker.errors import BadRecordError
from worker.metrics import Metrics
from worker.stream.batch import Batch, Entry
from worker.stream.meter import Meter
from worker.types import LABELS, Classified, Post, Record
from worker.web.health import Health

LONGEST = 12


def post(words: int, pieces: int) -> Entry:
    """A post of so many words, cut into so many pieces, with a special id at each end."""
    text = " ".join(["word"] * words)
    return Entry(Record("tweets", 0, 0, b"k", b"", 0), Post(id=1, text=text), tokens=[0] * (pieces + 2))


def bad() -> Entry:
    return Entry(Record("tweets", 0, 0, b"k", b"", 0), BadRecordError("invalid_json", "why"))


def was_cut(row: Sequence[int]) -> bool:
    return len(row) == LONGEST


def test_words_and_pieces_of_one_post_in_sixteen_are_counted() -> None:
    metrics = Metrics()
    meter = Meter(metrics, Health(ManualClock(0.0), 60.0, ()))

    meter.took([post(4, 6), *[post(9, 9)] * 15, post(3, 3), *[post(9, 9)] * 15], was_cut)
    meter.took([bad()], was_cut)
    meter.took([Entry(Record("tweets", 0, 0, b"k", b"", 0), Post(id=1, text="a b"), tokens=[])], was_cut)
    meter.took([post(30, LONGEST - 2)], was_cut)  # cut: nobody knows how many pieces it would have had

    shown = generate_latest(metrics.registry).decode()
    assert "moodstream_words_total 7.0" in shown
    assert "moodstream_word_pieces_total 9.0" in shown
    assert "moodstream_texts_truncated_total 1.0" in shown
    assert 'moodstream_records_consumed_total{topic="tweets"} 35.0' in shown


def test_how_strongly_the_network_answers_is_summed_by_emotion() -> None:
    metrics = Metrics()
    meter = Meter(metrics, Health(ManualClock(0.0), 60.0, ()))
    label = np.array([LABELS.index("joy"), LABELS.index("joy"), LABELS.index("neutral"), LABELS.index("joy")])
    energy = np.array([2.0, 3.0, 4.0, -1.0])  # below 0 it is 0: a counter only rises
    answer = Classified(np.full((4, 6), 1 / 6), np.zeros(4), label, energy)

    meter.committed(Batch([post(1, 1)] * 4), answer, "m@1", 0.0)

    shown = generate_latest(metrics.registry).decode()
    assert 'moodstream_energy_total{emotion="joy",model_version="m@1"} 5.0' in shown
    assert 'moodstream_energy_squares_total{emotion="joy",model_version="m@1"} 13.0' in shown
    assert 'moodstream_energy_total{emotion="neutral",model_version="m@1"} 4.0' in shown
    assert 'moodstream_labels_total{emotion="joy",model_version="m@1"} 3.0' in shown
