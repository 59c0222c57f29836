"""What the trends loop tells about itself, so that its steps hold no metric code."""

from __future__ import annotations

import logging
from collections import Counter

from worker import metrics as m
from worker.clock import Clock
from worker.metrics import Metrics
from worker.trends.counting import Batch, Decoded

log = logging.getLogger(__name__)


class Meter:
    """What the loop tells about itself. Belongs to the loop's thread."""

    def __init__(self, topic: str, clock: Clock, metrics: Metrics) -> None:
        self._topic = topic
        self._clock = clock
        self._applied = metrics.counter(m.TRENDS_APPLIED)
        self._outside = metrics.counter(m.TRENDS_OUTSIDE)
        self._skipped = metrics.counter(m.TRENDS_SKIPPED)
        self._rewinds = metrics.counter(m.TRENDS_REWINDS)
        self._lag = metrics.gauge(m.CONSUMER_LAG)
        self._lag_seconds = metrics.gauge(m.CONSUMER_LAG_SECONDS)
        self.timed = metrics.histogram(m.TRENDS_BATCH_SECONDS).time

    def counted(self, batch: Batch) -> None:
        """A batch is in the store."""
        for emotion, n in Counter([event.cell.emotion for event in batch.events]).items():
            self._applied.labels(emotion).inc(n)
        for outside in batch.outside:
            self._outside.labels(outside.side).inc()

    def skipped(self, partition: int, decoded: Decoded) -> None:
        """Some records of a batch counted nothing."""
        self._skipped.labels("deletion").inc(len(decoded.deletions))
        self._skipped.labels("invalid").inc(len(decoded.invalid))
        if decoded.invalid:
            log.warning(
                "%s/%d: %d records are no labels, the first at offset %d",
                self._topic, partition, len(decoded.invalid), decoded.invalid[0],
            )  # fmt: skip

    def rewound(self) -> None:
        """The store was not where we believed."""
        self._rewinds.inc()

    def behind(self, partition: int, reached: int, high: int, taken_ms: int) -> None:
        """Set the lag.

        Args:
            partition: Of the topic.
            reached: The offset before which nothing is left to count.
            high: The one after the log's last; negative where unknown.
            taken_ms: Kafka's timestamp of the last record that was counted; negative where there is none.
        """
        lag = max(0, high - reached)
        age = max(0.0, self._clock.time() - taken_ms / 1000) if lag and taken_ms >= 0 else 0.0
        self._lag.labels(self._topic, str(partition)).set(lag)
        self._lag_seconds.labels(self._topic, str(partition)).set(age)

    def gone(self, partition: int) -> None:
        """Another instance reads this partition now: our series must not stay at the last value."""
        for gauge in (self._lag, self._lag_seconds):
            gauge.remove(self._topic, str(partition))
