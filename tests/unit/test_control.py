from __future__ import annotations

from datetime import UTC, datetime

import msgspec
import pytest

from worker.control.follow import together
from worker.control.messages import BadControlError, Board, Compared, Pause, Promotion, Report, Shadowing

AT = datetime(2026, 1, 1, tzinfo=UTC)


def encoded(message: msgspec.Struct) -> bytes:
    return msgspec.json.encode(message)


def test_the_last_word_on_each_key_stays() -> None:
    board = Board()
    board.apply(b"model", encoded(Promotion(model="default@1", at=AT)))
    board.apply(b"model", encoded(Promotion(model="default@2", at=AT)))
    board.apply(b"shadow", encoded(Shadowing(model="other@1", share=0.5, at=AT)))
    board.apply(b"pause", encoded(Pause(paused=True, at=AT)))
    board.apply(b"worker/a", encoded(Report(worker="a", model="default@1", at=AT)))

    assert board.promotion is not None
    assert board.promotion.model == "default@2"
    assert board.shadow is not None
    assert board.shadow.share == 0.5
    assert board.paused
    assert [report.worker for report in board.reports] == ["a"]

    for key in (b"model", b"shadow", b"pause", b"worker/a"):
        board.apply(key, None)
    assert not any((board.promotion, board.shadow, board.paused, board.reports))


@pytest.mark.parametrize(
    ("key", "value", "complaint"),
    [
        (b"modle", b"{}", "unknown key 'modle'"),
        (None, b"{}", "unknown key ''"),
        (b"\xff", b"{}", "unknown key"),
        (b"model", b"{", "model: "),
        (b"model", b"\xff", "model: "),
        (b"model", b'{"model": "../../etc@1", "at": "2026-01-01T00:00:00Z"}', r"\$\.model"),
        (b"model", b'{"model": "no-version", "at": "2026-01-01T00:00:00Z"}', r"\$\.model"),
        (b"model", b'{"model": "a@1"}', "at"),
        (b"shadow", b'{"model": "a@1", "share": 1.5, "at": "2026-01-01T00:00:00Z"}', "share"),
        (b"pause", b'{"paused": "yes", "at": "2026-01-01T00:00:00Z"}', "paused"),
    ],
)
def test_a_message_that_is_not_valid_changes_nothing(key: bytes, value: bytes, complaint: str) -> None:
    board = Board()
    board.apply(b"model", encoded(Promotion(model="default@1", at=AT)))
    with pytest.raises(BadControlError, match=complaint):
        board.apply(key, value)
    assert board.promotion is not None
    assert board.promotion.model == "default@1"


def test_what_all_shadows_have_compared_is_added_up() -> None:
    def report(worker: str, model: str, n: int, agreed: int) -> Report:
        compared = Compared(model=model, against="default@1", n=n, agreed=agreed, skipped=1)
        return Report(worker=worker, model="default@1", at=AT, shadow=compared)

    reports = [report("a", "new@1", 10, 9), report("b", "new@1", 30, 20), report("c", "old@1", 5, 5)]
    both = together(reports, "new@1")
    assert both is not None
    assert (both.n, both.agreed, both.skipped) == (40, 29, 2)
    assert together(reports, "other@1") is None
