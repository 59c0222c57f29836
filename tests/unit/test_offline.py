from __future__ import annotations

import msgspec

from tests.support.models import WordModel
from worker.clock import SystemClock
from worker.configuration import load
from worker.replay.offline import label_texts, run_records
from worker.settings import Settings
from worker.stream.memory import MemoryLog, MemoryPublisher, MemorySource
from worker.types import Label, Record, TopicPartition


def sizes(settings: Settings, n: int) -> list[int]:
    """Texts in each batch that the model saw."""
    model = WordModel()
    labels = list(label_texts((f"joy {i}" for i in range(n)), model, settings, SystemClock()))  # type: ignore[arg-type]
    assert [label.label for label in labels if label is not None] == ["joy"] * n
    return model.calls


def test_batches_do_not_depend_on_time() -> None:
    """Else the same texts would get other figures on a busy machine."""
    for linger_ms in ("0", "20"):
        settings = load({"batch.max_records": "100", "batch.linger_ms": linger_ms})
        assert sizes(settings, 250) == [100, 100, 50]


def test_a_batch_is_as_large_as_its_token_budget() -> None:
    settings = load({"batch.max_tokens": "520", "batch.linger_ms": "0"})
    # Ten texts of 5 tokens and 78 of 6 make 518; then 12 of 6 and 64 of 7 make 520.
    assert sizes(settings, 300)[:2] == [10 + 78, 12 + 64]


def elsewhere(offset: int, text: str) -> Record:
    return Record("tweets", 3, offset, b"k", msgspec.json.encode({"id": offset, "text": text}), 1000)


def test_records_keep_the_offsets_that_they_have_in_their_topic() -> None:
    records = [elsewhere(70, "joy"), elsewhere(72, "fear"), elsewhere(99, "love")]
    out = run_records(records, WordModel(), Settings(), SystemClock())  # type: ignore[arg-type]
    labels = [msgspec.json.decode(record.value or b"", type=Label) for record in out]
    assert [(label.input, label.label) for label in labels] == [
        ("tweets/3/70", "joy"),
        ("tweets/3/72", "fear"),
        ("tweets/3/99", "love"),
    ]
    assert run_records([], WordModel(), Settings(), SystemClock()) == []  # type: ignore[arg-type]


def test_a_log_whose_offsets_begin_anywhere_and_have_gaps_is_rewound_to_what_is_committed() -> None:
    log = MemoryLog()
    log.extend(elsewhere(offset, "joy") for offset in (70, 72, 99))
    source = MemorySource(log)
    source.open(lambda _: None)
    assert [record.offset for record in source.take(2, 0)] == [70, 72]
    MemoryPublisher(log).publish([], {TopicPartition("tweets", 3): 71})
    source.rewind()
    assert [record.offset for record in source.take(9, 0)] == [72, 99]
    assert source.is_exhausted()
    assert log.append("tweets", b"", partition=3).offset == 100
