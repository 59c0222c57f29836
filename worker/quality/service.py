"""What runs in the event loop of the quality role: Faust, the watches over it, the figures, forgetting."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec

from worker import metrics as m
from worker.clock import Clock
from worker.dependency import Dependency
from worker.errors import MoodstreamError, UnansweredError
from worker.metrics import Metrics
from worker.process import VERSION, Stop
from worker.quality.api import Board
from worker.quality.faust_app import PARTITION, FaustBook, FaustCorrections, create_app, send
from worker.quality.gauges import QualityGauges
from worker.quality.intake import DAY_S, Intake
from worker.quality.lookup import LabelLookup
from worker.quality.passed_over import CorrectionLog
from worker.quality.probe import Probe
from worker.quality.report import Report, report
from worker.quality.watchdog import Watchdog
from worker.settings import Settings
from worker.types import Judgement
from worker.web.health import Health

_TURN_S = 0.1
_LOOK_EVERY_S = 1.0
_WINDOWS_MOVE_S = 60.0
"""Figures are computed anew after this time also where no verdict has come: labels leave the windows."""
_FORGET_EVERY_S = 600.0
_decode = msgspec.json.Decoder(Judgement).decode

log = logging.getLogger(__name__)


class Service:
    """One instance of the role, without its process and its HTTP server. To be made where its loop runs."""

    def __init__(
        self,
        settings: Settings,
        folder: Path,
        *,
        probe: Probe,
        labels: LabelLookup,
        corrections: CorrectionLog,
        board: Board,
        kafka: Dependency,
        health: Health,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        """`folder`: where Faust may write."""
        topics = settings.topics
        self._settings = settings
        self._clock = clock
        self._health = health
        self._kafka = kafka
        self._probe = probe
        self._probing = ThreadPoolExecutor(1, "probe")
        self._looking_up = ThreadPoolExecutor(1, "lookup")
        self._board = board
        self._gauges = QualityGauges(metrics)
        self._lag = metrics.gauge(m.CONSUMER_LAG)
        self._lag_seconds = metrics.gauge(m.CONSUMER_LAG_SECONDS)
        self._assigned = metrics.gauge(m.ASSIGNED)
        self._watchdog = Watchdog(health)
        self._failure: Exception | None = None
        self._read_to: int | None = None
        """The end of the corrections, where Faust has read up to it, and all of that is done."""
        self._app = create_app(settings, folder)
        self._book = FaustBook(self._app, topics.judgements)
        self._intake = Intake(
            settings,
            self._book,
            labels,
            corrections,
            lambda record: send(self._app, record),
            ours=lambda: self._corrections.owned,
            asker=self._looking_up,
            version=VERSION,
            clock=clock,
            metrics=metrics,
        )
        self._corrections = FaustCorrections(self._app, topics.corrections, self._intake.take, self._failed)

    async def run(self, stop: Stop) -> None:
        """Work until `stop` is set.

        Raises:
            DependencyError: Kafka refuses us for good.
            MoodstreamError: Faust has crashed.
        """
        tasks = [
            asyncio.create_task(work, name=name)
            for name, work in (
                ("faust", self._app.start()),
                ("watch", self._watch()),
                ("catch up", self._catch_up()),
                ("figures", self._compute()),
                ("forget", self._forget()),
            )
        ]
        try:
            while not stop.is_set():
                self._raise_if_broken(tasks)
                await asyncio.sleep(_TURN_S)
        finally:
            await self._end(tasks)

    async def _end(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        try:
            await asyncio.wait_for(self._app.stop(), self._settings.quality.drain_s)
        except TimeoutError:
            log.warning("kafka does not answer: left the group without a goodbye")
        for executor in (self._probing, self._looking_up):
            executor.shutdown(wait=False, cancel_futures=True)

    def _failed(self, error: Exception) -> None:
        """A correction could not be dealt with, by no fault of its own."""
        self._failure = error

    def _raise_if_broken(self, tasks: Sequence[asyncio.Task[None]]) -> None:
        if self._failure is not None:
            raise self._failure
        for task in tasks:
            if task.done():
                task.result()  # raises what ended it; only Faust's start ends by itself
        if self._app.crashed:
            reason = self._app.crash_reason
            raise MoodstreamError(f"faust has crashed: {reason!r}") from reason

    async def _watch(self) -> None:
        while True:
            await self._look()
            await asyncio.sleep(_LOOK_EVERY_S)

    async def _look(self) -> None:
        """Ask Kafka how far the topic goes, and say how far we are."""
        topic, loop = self._settings.topics.corrections, asyncio.get_running_loop()
        owned, answers, behind, end = self._corrections.owned, True, 0, None
        self._health.set("assignment", owned)
        self._health.set("judgements", owned and self._book.recovered)
        self._assigned.set(int(owned))
        try:
            if owned:
                end = await loop.run_in_executor(self._probing, self._probe.end, topic, PARTITION)
                behind = await self._behind(end)
            else:
                # A spare has nothing to do; but somebody must have the partition, or we wait for it in vain.
                has = await loop.run_in_executor(self._probing, self._probe.has_owner, topic, PARTITION)
                behind = 0 if has else 1
            self._kafka.works()
        except UnansweredError as error:
            answers = False
            if self._kafka.due:
                self._kafka.failed(str(error))
        self._read_to = end if answers and not behind and self._book.recovered else None
        self._watchdog.turn(
            waiting=not answers or self._intake.waiting,
            behind=behind,
            progress=(self._intake.done, self._book.progress),
        )
        if owned:
            self._show_lag(behind)
        else:
            self._lag.clear()
            self._lag_seconds.clear()

    async def _catch_up(self) -> None:
        """Where Faust says that it has read all, make sure of it. Beside `_look`, which must not wait."""
        while True:
            await asyncio.sleep(_LOOK_EVERY_S)
            if self._read_to is not None:
                await self._intake.catch_up(self._read_to)

    async def _behind(self, end: int) -> int:
        try:
            return await self._corrections.behind(end)
        except TimeoutError:
            log.warning("faust does not say how far it has read")
            return 1

    def _show_lag(self, behind: int) -> None:
        where = (self._settings.topics.corrections, str(PARTITION))
        taken_ms = self._intake.last_timestamp_ms
        late = self._clock.time() - taken_ms / 1000 if behind and taken_ms >= 0 else 0.0
        self._lag.labels(*where).set(behind)
        self._lag_seconds.labels(*where).set(max(0.0, late))

    async def _compute(self) -> None:
        """Keep the report on the board up to date, or take it off where this instance does not know."""
        version, at = -1, 0.0
        while True:
            if not (self._corrections.owned and self._book.recovered):
                if self._board.report is not None:
                    self._board.report = None
                    self._gauges.clear()
                await asyncio.sleep(_TURN_S)
                continue
            now = self._clock.monotonic()
            if self._board.report is None or version != self._book.version or now - at > _WINDOWS_MOVE_S:
                version, at = self._book.version, now
                found = await asyncio.to_thread(self._report, self._book.all())
                self._board.report = found
                self._gauges.show(found)
            await asyncio.sleep(self._settings.quality.refresh_s)

    def _report(self, encoded: list[bytes]) -> Report:
        return report(map(_decode, encoded), self._settings.review.slices, self._clock.time())

    async def _forget(self) -> None:
        """Drop judgements of labels that are older than what is kept."""
        while True:
            await asyncio.sleep(_FORGET_EVERY_S)
            if self._corrections.owned and self._book.recovered:
                try:
                    for label_ref in await asyncio.to_thread(self._old, self._book.all()):
                        await self._book.forget(label_ref)
                except UnansweredError as error:
                    log.warning("old judgements are forgotten later: %s", error)

    def _old(self, encoded: list[bytes]) -> list[str]:
        oldest = self._clock.time() - self._settings.quality.retention_days * DAY_S
        return [
            judgement.label_ref
            for judgement in map(_decode, encoded)
            if judgement.label.labelled_at.timestamp() < oldest
        ]
