from __future__ import annotations

from collections.abc import Sequence

import pytest

from worker.model.artifact import load as load_artifact
from worker.model.bundled import bundled_model
from worker.model.classifier import load


def test_only_one_thread_at_a_time_is_in_the_tokeniser(monkeypatch: pytest.MonkeyPatch) -> None:
    """It remembers words; the loop's thread prepares posts, the model's thread what somebody asks about."""
    classifier = load(load_artifact(bundled_model()), "null")
    expected = classifier.prepare(["so happy today"])
    encode, locked = classifier._tokeniser.encode, []

    def watched(texts: Sequence[str]) -> list[list[int]]:
        locked.append(classifier._preparing.locked())
        return encode(texts)

    monkeypatch.setattr(classifier._tokeniser, "encode", watched)

    assert classifier.prepare(["so happy today"]) == expected
    assert locked == [True]
    assert not classifier._preparing.locked()
