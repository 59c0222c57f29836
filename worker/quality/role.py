"""The quality role: a Faust application from corrections to judgements, with its figures over HTTP.

Start: HTTP server; Kafka and the topics are waited for; Faust reads its table from the changelog and begins.
End, within `quality.drain_s` after `stop`: the correction under way is left for the next start, what is done
is committed, the group is left, the server closes.

One event loop runs five things beside each other: Faust, the watch over it, the look for what it has passed
over, the figures, and forgetting.
"""

from __future__ import annotations

import asyncio
import logging
import tempfile
from contextlib import ExitStack
from pathlib import Path

from worker.clock import Clock
from worker.dependency import Dependency
from worker.errors import ConfigurationError, UnansweredError
from worker.formats.opened import Formats
from worker.metrics import Metrics
from worker.process import Stop
from worker.quality.api import Board, quality_router
from worker.quality.faust_app import PARTITION
from worker.quality.lookup import KafkaLabelLookup
from worker.quality.passed_over import KafkaCorrectionLog
from worker.quality.probe import Probe
from worker.quality.service import Service
from worker.settings import Settings
from worker.types import Label
from worker.web.health import Health
from worker.web.server import serve

_LOOK_AGAIN_S = 0.2

log = logging.getLogger(__name__)


def run(settings: Settings, metrics: Metrics, clock: Clock, stop: Stop) -> None:
    """Join corrections to their labels and keep the figures until `stop` is set.

    Raises:
        ConfigurationError: an address cannot be used, or a topic has more partitions than it may.
        DependencyError: Kafka refuses us for good.
        ServerDiedError: the HTTP server ended by itself; `stop` is then set too.
    """
    quality = settings.quality
    health = Health(clock, quality.stall_s, ("kafka", "assignment", "judgements"))
    formats = Formats(settings, clock=clock, metrics=metrics, health=health)
    board = Board()
    with ExitStack() as closing:
        folder = closing.enter_context(tempfile.TemporaryDirectory(prefix="moodstream-quality-"))
        closing.enter_context(
            serve(
                quality.http,
                metrics,
                health,
                on_death=stop.set,
                title="moodstream quality",
                routers=[quality_router(board)],
                clock=clock,
            )
        )
        probe = Probe(settings.kafka, quality.group_id)
        closing.callback(probe.close)
        kafka = Dependency("kafka", clock, metrics, health)
        if not _topics_are_there(settings, probe, kafka, health, stop):
            return

        def go_on() -> bool:
            health.beat()
            return not stop.is_set()

        if not formats.wait(go_on):
            return
        labels = KafkaLabelLookup(settings.kafka, quality.group_id, clock, read=formats.labels(Label))
        closing.callback(labels.close)
        corrections = KafkaCorrectionLog(
            settings.kafka, quality.group_id, settings.topics.corrections, PARTITION, clock
        )
        closing.callback(corrections.close)

        async def work() -> None:
            service = Service(
                settings,
                Path(folder),
                probe=probe,
                labels=labels,
                corrections=corrections,
                board=board,
                kafka=kafka,
                health=health,
                clock=clock,
                metrics=metrics,
            )
            await service.run(stop)

        asyncio.run(work())


def _topics_are_there(
    settings: Settings, probe: Probe, kafka: Dependency, health: Health, stop: Stop
) -> bool:
    """Wait for Kafka and for the topics; false: asked to stop before.

    Raises:
        ConfigurationError: one has not the one partition that it must have.
        DependencyError: Kafka refuses us.
    """
    topics = settings.topics
    single = (topics.corrections, topics.judgements)
    told = False
    while not stop.is_set():
        health.beat()  # waiting for Kafka is no reason to be restarted
        if kafka.due:
            try:
                found = probe.partitions()
            except UnansweredError as error:
                kafka.failed(str(error))
                continue
            kafka.works()
            missing = [name for name in (*single, topics.labels, topics.dead_letters) if name not in found]
            if not missing:
                _refuse([name for name in single if found[name] != 1])
                return True
            if not told:
                log.warning(
                    "waiting for topics that `moodstream topics create` makes: %s", ", ".join(missing)
                )
                told = True
        stop.wait(_LOOK_AGAIN_S)
    return False


def _refuse(split: list[str]) -> None:
    if split:
        raise ConfigurationError(
            [
                f"{name} has several partitions, but quality needs all corrections in one order: set another"
                " name (topics.corrections, topics.judgements) and run `moodstream topics create`"
                for name in split
            ]
        )
