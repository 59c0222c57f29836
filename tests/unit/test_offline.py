from __future__ import annotations

from tests.support.models import WordModel
from worker.clock import SystemClock
from worker.replay.offline import label_texts
from worker.settings import Settings, load


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
