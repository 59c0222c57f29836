"""The real watch over simulated streams, with the ledger and the model mix on a real Redis."""

from __future__ import annotations

import numpy as np
from redis import Redis

from tests.support.alerts import KEYS
from tests.support.drift import Stream, StreamReader
from worker.clock import ManualClock
from worker.distribution import COLUMNS
from worker.metrics import Metrics
from worker.settings import AlertSettings
from worker.trends.alerts.baseline import hours_of_history
from worker.trends.alerts.ledger import Ledger
from worker.trends.alerts.models import Mix, ModelMix
from worker.trends.alerts.watch import SpikeWatch
from worker.trends.shapes import STEP
from worker.trends.windows import HOUR
from worker.types import Alert


class GivenMix(ModelMix):
    """The mix of models that the stream itself says, instead of what a counting thread would note."""

    def __init__(self, client: Redis, given: Stream, reader: StreamReader) -> None:
        super().__init__(client, KEYS, 99 * HOUR)
        self._given, self._reader = given, reader

    def read(self, hours: range) -> list[Mix]:
        found: list[Mix] = []
        per_hour = HOUR // STEP
        for hour in hours:
            first = (hour * HOUR - self._given.start) // STEP
            until = max(0, min(first + per_hour, (self._reader.now - self._given.start) // STEP))
            found.append(
                {
                    model: int(n)
                    for model, spread in self._given.spreads.items()
                    if (n := np.sum(spread[max(first, 0) : until, :, COLUMNS["confidence"]])) > 0
                }
            )
        return found


def watched(
    client: Redis, given: Stream, hours: int, *, before_s: int = 3 * HOUR, every_s: int = HOUR, **more: object
) -> list[Alert]:
    """What the watch records from `before_s` before the planted thing begins until `hours` after."""
    client.flushall()
    settings = AlertSettings.model_validate({"weeks": 4, **more})
    reader, clock = StreamReader(given), ManualClock(given.at)
    mix = GivenMix(client, given, reader)
    ledger = Ledger(
        client, KEYS, channels=("kafka",), keep_s=10**7, max_kept=1000, max_queued=1000, lease_s=10**6
    )
    assert ledger.lead()
    assert hours_of_history(settings.weeks) > 0
    watch = SpikeWatch(reader, list, mix, ledger, settings=settings, clock=clock, metrics=Metrics())
    found: list[Alert] = []
    for now in range(given.at - before_s, given.at + hours * HOUR, every_s):
        clock.now = reader.now = now // STEP * STEP
        found += watch.turn()
    return found
