"""Each correction is dealt with in order, those that Faust passes over too."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor

import msgspec
import pytest

from tests.support.quality import NOW, MemoryCorrectionLog, correction, label, record
from worker.clock import ManualClock
from worker.errors import MoodstreamError
from worker.metrics import Metrics
from worker.quality import intake as intakes
from worker.quality.correction import LabelRef
from worker.quality.intake import Intake
from worker.settings import Settings
from worker.types import Judgement, Label, OutRecord, Record


class Book:
    """Judgements in memory, in the order in which they were kept."""

    def __init__(self) -> None:
        self.kept: dict[str, Judgement] = {}
        self.order: list[int] = []

    def get(self, label_ref: str) -> Judgement | None:
        return self.kept.get(label_ref)

    async def put(self, judgement: Judgement) -> None:
        await asyncio.sleep(0)
        self.kept[judgement.label_ref] = judgement
        self.order.append(int(judgement.label_ref.split("/")[2]))


class Labels:
    """Every label is there."""

    def read(self, ref: LabelRef) -> Label:
        return label("joy", labelled_at=NOW)


async def nothing_sent(record: OutRecord) -> None:
    raise AssertionError(f"a dead letter: {record}")


def said(offset: int) -> Record:
    """A correction at `offset`, of the label at the same."""
    return record(msgspec.json.encode(correction("anger", offset=offset)), offset=offset)


@pytest.fixture
def book() -> Book:
    return Book()


def dealt_with(
    book: Book, log: MemoryCorrectionLog, come: Iterable[int], end: int | None = None
) -> list[int]:
    """Offsets in the order in which they were dealt with, when only `come` come by themselves."""

    async def work() -> None:
        with ThreadPoolExecutor(1) as asker:
            intake = made(book, log, asker)
            for offset in come:
                await intake.take(said(offset))
            if end is not None:
                await intake.catch_up(end)
                await intake.catch_up(end)

    asyncio.run(work())
    return book.order


def made(
    book: Book,
    log: MemoryCorrectionLog,
    asker: ThreadPoolExecutor,
    ours: Callable[[], bool] = lambda: True,
) -> Intake:
    return Intake(
        Settings(),
        book,
        Labels(),
        log,
        nothing_sent,
        ours=ours,
        asker=asker,
        version="0",
        clock=ManualClock(NOW.timestamp()),
        metrics=Metrics(),
    )


def test_what_is_passed_over_is_dealt_with_before_what_comes(
    book: Book, caplog: pytest.LogCaptureFixture
) -> None:
    log = MemoryCorrectionLog(map(said, range(10)), committed=2)
    assert dealt_with(book, log, [2, 7, 8]) == [2, 3, 4, 5, 6, 7, 8]
    assert "faust has passed over 4 corrections" in caplog.text


def test_also_before_the_first_that_comes(book: Book) -> None:
    log = MemoryCorrectionLog(map(said, range(6)), committed=1)
    assert dealt_with(book, log, [4, 5]) == [1, 2, 3, 4, 5]


def test_also_where_nothing_comes_after_it(book: Book) -> None:
    log = MemoryCorrectionLog(map(said, range(6)))
    assert dealt_with(book, log, [0, 1], end=6) == [0, 1, 2, 3, 4, 5]


def test_offsets_that_are_no_corrections_are_no_news(book: Book, caplog: pytest.LogCaptureFixture) -> None:
    log = MemoryCorrectionLog([said(0), said(5)], end=7)
    assert dealt_with(book, log, [0, 5], end=7) == [0, 5]
    assert "passed over" not in caplog.text


def test_what_comes_again_is_judged_again_without_harm(book: Book) -> None:
    log = MemoryCorrectionLog(map(said, range(4)))
    assert dealt_with(book, log, [0, 1, 2, 1, 2, 3]) == [0, 1, 2, 3]


def test_kafka_is_waited_for(book: Book, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intakes, "backoff", lambda: iter([0.0] * 9))
    log = MemoryCorrectionLog(map(said, range(4)))
    log.unanswered = 3
    assert dealt_with(book, log, [0, 3]) == [0, 1, 2, 3]
    assert log.unanswered == 0


def test_two_at_once_take_turns(book: Book) -> None:
    """The agent and the look at the topic's end run beside each other."""
    log = MemoryCorrectionLog(map(said, range(5)))

    async def work() -> None:
        with ThreadPoolExecutor(1) as asker:
            intake = made(book, log, asker)
            await asyncio.gather(intake.catch_up(5), intake.take(said(0)), intake.catch_up(5))

    asyncio.run(work())
    assert book.order == [0, 1, 2, 3, 4]


def test_who_has_lost_the_partition_leaves_the_rest_to_the_next_owner(book: Book) -> None:
    log = MemoryCorrectionLog(map(said, range(9)))

    async def work() -> None:
        with ThreadPoolExecutor(1) as asker:
            intake = made(book, log, asker, ours=lambda: len(book.order) < 3)
            await intake.catch_up(9)
            with pytest.raises(MoodstreamError, match="went to another member"):
                await intake.take(said(8))

    asyncio.run(work())
    assert book.order == [0, 1, 2]
