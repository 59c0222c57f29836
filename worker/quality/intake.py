"""One correction at a time: decoded, joined to its label, kept; or a dead letter."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from concurrent.futures import Executor
from datetime import UTC, datetime
from typing import Protocol, TypeVar

from worker import metrics as m
from worker.clock import Clock, backoff
from worker.errors import BadRecordError, MoodstreamError, UnansweredError
from worker.metrics import Metrics
from worker.quality.correction import LabelRef, check_time, decode, reference
from worker.quality.judgement import check_id, judge, said
from worker.quality.lookup import LabelLookup
from worker.quality.passed_over import CorrectionLog
from worker.settings import Settings
from worker.stream.dead_letters import Finder, dead_letter
from worker.types import Judgement, OutRecord, Record

DAY_S = 86_400
_T = TypeVar("_T")

log = logging.getLogger(__name__)


class Book(Protocol):
    """Where judgements are kept."""

    def get(self, label_ref: str) -> Judgement | None:
        """The judgement of a label, where there is one."""
        ...

    async def put(self, judgement: Judgement) -> None:
        """Keep a judgement; returns once it is safe.

        Raises:
            UnansweredError: it may or may not be: put it again.
            DependencyError: Kafka refuses us.
        """
        ...


class Intake:
    """What is done with each correction. Doing it again changes nothing but the count of dead letters."""

    def __init__(
        self,
        settings: Settings,
        book: Book,
        labels: LabelLookup,
        corrections: CorrectionLog,
        send: Callable[[OutRecord], Awaitable[None]],
        *,
        ours: Callable[[], bool],
        asker: Executor,
        version: str,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`ours`: whether the group leaves the partition to us. `version`: of the product, for dead letters.

        `asker`: the one thread that `labels` and `corrections` belong to.
        """
        self._settings = settings
        self._book = book
        self._labels = labels
        self._corrections = corrections
        self._send = send
        self._ours = ours
        self._asker = asker
        topics = settings.topics
        self._finder = Finder(topics.dead_letters, version, None, topics.max_message_bytes)
        self._clock = clock
        self._outcomes = metrics.counter(m.QUALITY_CORRECTIONS)
        self._dead = metrics.counter(m.DEAD_LETTERS)
        self._retries = metrics.counter(m.RETRIES).labels("kafka")
        self._one_at_a_time = asyncio.Lock()
        self._next = 0
        """Where our last one was: what lies between it and the next that comes was perhaps passed over."""
        self.done = 0
        """Corrections dealt with since the start."""
        self.last_timestamp_ms = -1
        """Kafka's timestamp of the last one."""
        self.waiting = False
        """Whether Kafka owes an answer to a question that has failed before."""

    async def take(self, record: Record) -> None:
        """Deal with one record of the corrections topic, and before it with those that were passed over.

        Returns once that is safe in Kafka.

        Raises:
            DependencyError: Kafka refuses us.
            MoodstreamError: the group has given the partition to another in the midst of it.
        """
        async with self._one_at_a_time:
            if record.offset > self._next and await self._passed_over(record.offset) < record.offset:
                raise MoodstreamError("the corrections went to another member while some were made up for")
            await self._deal(record)
            self._next = record.offset + 1

    async def catch_up(self, end: int) -> None:
        """Deal with what was passed over before offset `end`, and after which nothing has come.

        Raises:
            DependencyError: Kafka refuses us.
        """
        async with self._one_at_a_time:
            if end > self._next:
                self._next = max(self._next, await self._passed_over(end))

    async def _passed_over(self, end: int) -> int:
        """Deal with committed records before `end` that nobody has dealt with; how far that is done."""
        loop = asyncio.get_running_loop()
        found = await self._patiently(
            lambda: loop.run_in_executor(self._asker, self._corrections.between, self._next, end)
        )
        if found.records:
            log.warning("faust has passed over %d corrections: taken from the topic", len(found.records))
        for record in found.records:
            if not self._ours():  # its judgements are no longer what we have of them
                return record.offset
            await self._deal(record)
        return found.reached

    async def _deal(self, record: Record) -> None:
        try:
            outcome = await self._apply(record)
        except BadRecordError as error:
            letter = dead_letter(record, error, self._finder, datetime.fromtimestamp(self._clock.time(), UTC))
            await self._patiently(lambda: self._send(letter))
            self._dead.labels(error.kind).inc()
            outcome = "dead_letter"
        self._outcomes.labels(outcome).inc()
        self.done += 1
        self.last_timestamp_ms = record.timestamp_ms

    async def _apply(self, record: Record) -> str:
        """The outcome.

        Raises:
            BadRecordError: it is to become a dead letter, and nothing else has changed.
        """
        correction, now = decode(record), self._clock.time()
        quality = self._settings.quality
        check_time(correction, record, now, quality.clock_tolerance_s)
        ref = reference(correction, self._settings.topics.labels)
        before = self._book.get(correction.label_ref) or await self._unjudged(ref)
        check_id(correction, before.label)
        if before.label.labelled_at.timestamp() < now - quality.retention_days * DAY_S:
            return "expired"
        after = judge(before, correction, record.offset)
        if after is before:
            return "repeated"
        await self._patiently(lambda: self._book.put(after))
        return "applied"

    async def _unjudged(self, ref: LabelRef) -> Judgement:
        """The label from its topic. What has been judged before never comes here: the book is its cache."""
        loop = asyncio.get_running_loop()
        label = await self._patiently(lambda: loop.run_in_executor(self._asker, self._labels.read, ref))
        return said(label, str(ref))

    async def _patiently(self, ask: Callable[[], Awaitable[_T]]) -> _T:
        """Ask until Kafka answers, with growing pauses."""
        waits = backoff()
        while True:
            try:
                answer = await ask()
            except UnansweredError as error:
                if not self.waiting:
                    log.warning("waiting for kafka: %s", error)
                self.waiting = True
                self._retries.inc()
                await asyncio.sleep(next(waits))
            else:
                self.waiting = False
                return answer
