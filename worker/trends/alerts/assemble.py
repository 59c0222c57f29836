"""The parts of alerts put together for the trends role."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from typing import NamedTuple

from fastapi import APIRouter
from redis import Redis

from worker.clock import Clock
from worker.errors import ArtifactError
from worker.metrics import Metrics
from worker.model.bundled import bundled_model
from worker.model.reference import read_reference
from worker.model.shelf import Shelf
from worker.settings import ModelSettings, Settings
from worker.trends.alerts.api import alerts_router
from worker.trends.alerts.baseline import Floats, hours_of_history
from worker.trends.alerts.deliver import AlertTopic, Courier, Send, webhooks
from worker.trends.alerts.drift_watch import References
from worker.trends.alerts.ledger import KAFKA, Ledger, LedgerKeys
from worker.trends.alerts.models import ModelMix
from worker.trends.alerts.service import LEASE_S, AlertsLoop, looking
from worker.trends.alerts.watch import SpikeWatch
from worker.trends.counting import Batch
from worker.trends.queries import Query
from worker.trends.store import TrendReader
from worker.trends.windows import HOUR

log = logging.getLogger(__name__)


class Alerting(NamedTuple):
    """What the role needs of alerts."""

    router: APIRouter
    counted: Callable[[Batch], None]
    """To be told of every batch that was counted."""
    looking: Callable[[Callable[[], None]], AbstractContextManager[None]]
    """`looking(on_death)`: look for spikes and deliver them while the block runs."""


def assemble(
    settings: Settings,
    client: Redis,
    reader: TrendReader,
    queries: Callable[[], Sequence[Query]],
    *,
    metrics: Metrics,
    clock: Clock,
) -> Alerting:
    """Put it together; nothing runs yet. `queries` answers those that are tracked now."""
    given = settings.trends.alerts
    hooks = webhooks(given)
    keys = LedgerKeys(settings.trends.namespace, settings.topics.labels)
    ledger = Ledger(
        client,
        keys,
        channels=(KAFKA, *hooks),
        keep_s=given.keep_hours * HOUR,
        max_kept=given.max_kept,
        max_queued=given.webhook_queue,
        lease_s=LEASE_S,
    )
    router = alerts_router(ledger, clock)
    if given.detect == "off":
        return Alerting(router, lambda _: None, lambda _: nullcontext())
    mix = ModelMix(client, keys, hours_of_history(given.weeks) * HOUR)
    topic = AlertTopic(settings.kafka, settings.topics.alerts)
    channels: dict[str, Send] = {KAFKA: topic.send, **{name: hook.send for name, hook in hooks.items()}}
    loop = AlertsLoop(
        SpikeWatch(
            reader,
            queries,
            mix,
            ledger,
            references_of(settings.model),
            settings=given,
            clock=clock,
            metrics=metrics,
        ),
        Courier(ledger, channels, clock, metrics),
        ledger,
        mix,
        every_s=given.every_s,
        clock=clock,
    )
    close_s = settings.trends.drain_s / 3
    return Alerting(router, mix.note, lambda on_death: looking(loop, close_s=close_s, on_death=on_death))


def references_of(settings: ModelSettings) -> References:
    """How sure each model is on its validation texts, where its artefact lies on this machine and says so."""
    folders = [bundled_model(), *([settings.path] if settings.path is not None else [])]
    shelf = Shelf(settings.store, folders)

    @cache
    def of(model: str) -> Floats | None:
        try:
            return read_reference(shelf.find(model))
        except ArtifactError as error:
            log.info("no reference of %s to compare its labels with: %s", model, "; ".join(error.problems))
            return None

    return of
