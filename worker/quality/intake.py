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
from worker.errors import BadRecordError, UnansweredError
from worker.metrics import Metrics
from worker.quality.correction import LabelRef, check_time, decode, reference
from worker.quality.judgement import check_id, judge, said
from worker.quality.lookup import LabelLookup
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
        send: Callable[[OutRecord], Awaitable[None]],
        *,
        asker: Executor,
        version: str,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`asker`: the one thread that `labels` belongs to. `version`: of the product, for dead letters."""
        self._settings = settings
        self._book = book
        self._labels = labels
        self._send = send
        self._asker = asker
        topics = settings.topics
        self._finder = Finder(topics.dead_letters, version, None, topics.max_message_bytes)
        self._clock = clock
        self._outcomes = metrics.counter(m.QUALITY_CORRECTIONS)
        self._dead = metrics.counter(m.DEAD_LETTERS)
        self._retries = metrics.counter(m.RETRIES).labels("kafka")
        self.done = 0
        """Corrections dealt with since the start."""
        self.last_timestamp_ms = -1
        """Kafka's timestamp of the last one."""
        self.waiting = False
        """Whether Kafka owes an answer to a question that has failed before."""

    async def take(self, record: Record) -> None:
        """Deal with one record of the corrections topic; returns once that is safe in Kafka.

        Raises:
            DependencyError: Kafka refuses us.
        """
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
