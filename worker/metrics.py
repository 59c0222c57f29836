"""The metric catalogue: every metric of every role, in one place.

One prefix, base units, bounded labels (topic, partition, emotion, outcome, ...; never an author, a hashtag
or an id). The README's table, the dashboards and the alerts are tested against `CATALOGUE`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.core import HistogramMetricFamily
from prometheus_client.registry import Collector

PREFIX = "moodstream"

_LATENCY = (0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 300.0)
_STEP = (0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0)
_RECORDS = (1.0, 4.0, 16.0, 64.0, 256.0, 1024.0, 4096.0, 16384.0)


@dataclass(frozen=True, slots=True)
class Definition:
    """One metric: what it is called, what it is, and what it means."""

    name: str
    """Without the prefix; counters without `_total`, which the client adds."""
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = field(default=())

    @property
    def exposed(self) -> str:
        """The name that Prometheus sees (of a histogram: without `_bucket`, `_sum`, `_count`)."""
        return f"{PREFIX}_{self.name}" + ("_total" if self.kind == "counter" else "")


def _counter(name: str, help: str, *labels: str) -> Definition:  # noqa: A002
    return Definition(name, "counter", help, labels)


def _gauge(name: str, help: str, *labels: str) -> Definition:  # noqa: A002
    return Definition(name, "gauge", help, labels)


def _histogram(name: str, help: str, buckets: tuple[float, ...], *labels: str) -> Definition:  # noqa: A002
    return Definition(name, "histogram", help, labels, buckets)


# All roles
BUILD_INFO = _gauge("build_info", "Always 1; the version is in the label.", "version", "role")
DEPENDENCY_UP = _gauge("dependency_up", "1 while a dependency answers, 0 while it is away.", "dependency")
RETRIES = _counter("dependency_retries", "Waits for a dependency that was away.", "dependency")
CONSUMER_LAG = _gauge(
    "consumer_lag_records", "Records in the topic behind this consumer.", "topic", "partition"
)
CONSUMER_LAG_SECONDS = _gauge(
    "consumer_lag_seconds",
    "Age of the last record taken while more are waiting, else 0.",
    "topic",
    "partition",
)
SCHEMAS = _counter(
    "schemas_fetched",
    "Schemas that the registry was asked for by their ids: usable, unusable (nothing can be read with it) or "
    "unknown (it has none of that id).",
    "outcome",
)
ASSIGNED = _gauge("assigned_partitions", "Partitions this instance reads.")
REBALANCES = _counter("rebalances", "Changes of the assignment.", "kind")
TRACING_SPANS = _counter(
    "tracing_spans",
    "Spans for the collector: exported, failed (it did not take them) or dropped (too many waited).",
    "outcome",
)

# Worker
CONSUMED = _counter("records_consumed", "Records taken from the input topics.", "topic")
PUBLISHED = _counter(
    "records_published",
    "Records whose outcome is committed: label, dead_letter or deletion.",
    "topic",
    "outcome",
)
LABELS = _counter("labels", "Labels committed.", "emotion", "model_version")
ENERGY = _counter(
    "energy",
    "Sum over labels of how strongly the network answered at all: the log of the sum of the exponentials of "
    "its emotions' logits, 0 at least.",
    "emotion",
    "model_version",
)
ENERGY_SQUARES = _counter("energy_squares", "The same of its squares.", "emotion", "model_version")
DEAD_LETTERS = _counter("dead_letters", "Dead letters committed, by what was wrong.", "kind")
TRUNCATED = _counter("texts_truncated", "Texts longer than the model reads; the rest was not looked at.")
WORDS = _counter("words", "Words (between white space) in one post of sixteen, of those that were not cut.")
WORD_PIECES = _counter("word_pieces", "Pieces that the tokenizer makes of these words.")
LATENCY = _histogram(
    "record_latency_seconds",
    "From Kafka's timestamp of a record to its committed label.",
    _LATENCY,
)
STEP_SECONDS = _histogram("step_seconds", "Time of one step of the loop, per batch.", _STEP, "step")
BATCH_RECORDS = _histogram("batch_records", "Records in a batch.", _RECORDS)
BATCH_TOKENS = _histogram("batch_tokens", "Word pieces in a batch.", tuple(16 * b for b in _RECORDS))
CONFIDENCE = _histogram(
    "label_confidence", "Probability of the label given.", (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99)
)
TRANSACTIONS = _counter("transactions", "Kafka transactions: committed or aborted.", "outcome")
MODEL_INFO = _gauge("model_info", "Always 1; what is being served is in the labels.", "model", "backend")
MODEL_LOADED = _gauge("model_ready", "1 once the model is loaded and warm.")

CLASSIFY_REQUESTS = _counter(
    "classify_requests",
    "Requests to label texts: answered, refused (the request is wrong), full (too many waited), overdue (the "
    "stream left no time), failed (the model did) or closed (the worker starts or ends).",
    "outcome",
)
CLASSIFY_TEXTS = _counter("classify_texts", "Texts of the requests that were answered.")
CLASSIFY_SECONDS = _histogram(
    "classify_seconds", "From a request to label texts to its answer, of those that were answered.", _STEP
)

CONTROL = _counter("control_messages", "Messages of the control topic: applied or invalid.", "outcome")
SWAPS = _counter("model_swaps", "Promotions carried out (served) or refused.", "outcome")
PAUSED = _gauge("worker_paused", "1 while operators let this worker take no records.")
SHADOW_COMPARED = _counter(
    "shadow_posts",
    "Posts of the shadow model's share: it said the same (agreed), something else (differed), was not asked "
    "because live posts were waiting (skipped), or could not answer (failed).",
    "model_version",
    "outcome",
)
SHADOW_LABELS = _counter(
    "shadow_labels", "Labels that the shadow model would give.", "emotion", "model_version"
)
SHADOW_SECONDS = _histogram("shadow_batch_seconds", "Time of the shadow model for a batch.", _STEP)

# Trends
TRENDS_APPLIED = _counter("trends_labels_applied", "Labels counted in Redis.", "emotion")
TRENDS_SKIPPED = _counter(
    "trends_records_skipped", "Records of the labels topic that count nothing.", "reason"
)
TRENDS_OUTSIDE = _counter(
    "trends_labels_outside",
    "Labels too late or too early to count in their own bucket: late or early.",
    "side",
)
TRENDS_QUERIES = _gauge("trends_tracked_queries", "Tracked queries that labels are matched with.")
TRENDS_BATCH_SECONDS = _histogram("trends_batch_seconds", "Time to count one batch in Redis.", _STEP)
TRENDS_REWINDS = _counter(
    "trends_rewinds", "Times the reader went to Redis's own offset, because it was not the expected one."
)
ALERTS = _counter(
    "alerts", "Spikes and drifts found, each once; emotion is `all` where none is meant.", "kind", "emotion"
)
ALERTS_SILENT = _gauge(
    "alert_series_silent", "Series that cannot be judged now, by what is missing.", "reason"
)
ALERTS_JUDGED = _gauge(
    "alerts_judged_timestamp_seconds", "End of the last window that was judged, in epoch seconds."
)
ALERTS_DELIVERED = _counter(
    "alert_deliveries", "Alerts delivered, refused, failed (tried again) or dropped.", "channel", "outcome"
)
ALERTS_WAITING = _gauge("alerts_waiting", "Alerts that are recorded and not yet delivered.", "channel")
DRIFT_PSI = _gauge(
    "drift_psi",
    "Population stability index of the labels, by what is looked at and compared with: weeks (the same "
    "model's last ones), artefact (its validation texts, last day) or model (the one before it).",
    "measure",
    "against",
)
HTTP_REQUESTS = _counter("http_requests", "API requests answered.", "route", "status")
HTTP_SECONDS = _histogram("http_request_seconds", "Time to answer an API request.", _STEP, "route")

# Sources
SOURCE_ITEMS = _counter(
    "source_items",
    "What a feed has written into its topic: sent, and of that unreadable. Of a webhook also refused (not "
    "signed) and unconfirmed; of Mastodon and X duplicate (came again, was not written) and error (X said "
    "that something is wrong).",
    "feed",
    "outcome",
)
SOURCE_LAG_SECONDS = _gauge("source_lag_seconds", "How old what a feed wrote last was then.", "feed")

# Quality
QUALITY_CORRECTIONS = _counter(
    "quality_corrections",
    "Corrections dealt with: applied, repeated (nothing new), expired or dead_letter.",
    "outcome",
)
_OF_A_SLICE = ("model_version", "slice", "window")
QUALITY_LABELS = _gauge("quality_labels", "Judged labels that the accuracy is over.", *_OF_A_SLICE)
QUALITY_ACCURACY = _gauge("quality_accuracy", "Share of judged labels that people agree with.", *_OF_A_SLICE)
QUALITY_ACCURACY_LOW = _gauge("quality_accuracy_low", "Lower end of its 95% interval.", *_OF_A_SLICE)
QUALITY_ACCURACY_HIGH = _gauge("quality_accuracy_high", "Upper end of its 95% interval.", *_OF_A_SLICE)
QUALITY_MACRO_F1 = _gauge("quality_macro_f1", "Macro F1 over judged labels.", *_OF_A_SLICE)
QUALITY_MACRO_F1_LOW = _gauge("quality_macro_f1_low", "Lower end of its 95% interval.", *_OF_A_SLICE)
QUALITY_MACRO_F1_HIGH = _gauge("quality_macro_f1_high", "Upper end of its 95% interval.", *_OF_A_SLICE)
QUALITY_OVERCONFIDENCE = _gauge(
    "quality_overconfidence", "Mean score of judged labels less their accuracy.", *_OF_A_SLICE
)
QUALITY_OVERCONFIDENCE_LOW = _gauge(
    "quality_overconfidence_low", "Lower end of its 95% interval.", *_OF_A_SLICE
)
QUALITY_OVERCONFIDENCE_HIGH = _gauge(
    "quality_overconfidence_high", "Upper end of its 95% interval.", *_OF_A_SLICE
)
QUALITY_JUDGEMENTS = _gauge("quality_judgements", "Judged labels that are kept.")
QUALITY_DISAGREEMENT = _gauge(
    "quality_disagreement", "Share of the labels judged by several people on which they differ."
)

CATALOGUE = tuple(value for value in globals().copy().values() if isinstance(value, Definition))


class BulkHistogram(Collector):
    """A histogram that takes a whole batch at once.

    prometheus_client's own costs about 1 us per observation, a tenth of all that the worker spends on a
    record; this one costs a few ns.
    """

    def __init__(self, definition: Definition, registry: CollectorRegistry) -> None:
        self._name = f"{PREFIX}_{definition.name}"
        self._help = definition.help
        self._bounds = np.asarray(definition.buckets)
        self._counts = np.zeros(len(definition.buckets) + 1, dtype=np.int64)
        self._sum = 0.0
        registry.register(self)

    def observe_all(self, values: NDArray[np.float64]) -> None:
        """Count every value; a value equal to a bound belongs below it, as Prometheus has it."""
        slots = np.searchsorted(self._bounds, values, side="left")
        counts = self._counts + np.bincount(slots, minlength=len(self._counts))
        self._sum += float(values.sum())
        self._counts = counts

    def collect(self) -> Iterator[HistogramMetricFamily]:
        cumulative = np.cumsum(self._counts).tolist()
        bounds = [*map(str, self._bounds.tolist()), "+Inf"]
        family = HistogramMetricFamily(self._name, self._help)
        family.add_metric([], list(zip(bounds, cumulative, strict=True)), self._sum)
        yield family


class Metrics:
    """The catalogue on a registry of its own, so that tests and roles in one process never mix."""

    def __init__(self, registry: CollectorRegistry | None = None) -> None:
        self.registry = registry or CollectorRegistry()
        self._by_name: dict[str, Counter | Gauge | Histogram] = {}

    def counter(self, definition: Definition) -> Counter:
        """The counter of this definition."""
        made = self._make(definition)
        assert isinstance(made, Counter), definition.name  # noqa: S101
        return made

    def gauge(self, definition: Definition) -> Gauge:
        """The gauge of this definition."""
        made = self._make(definition)
        assert isinstance(made, Gauge), definition.name  # noqa: S101
        return made

    def histogram(self, definition: Definition) -> Histogram:
        """The histogram of this definition."""
        made = self._make(definition)
        assert isinstance(made, Histogram), definition.name  # noqa: S101
        return made

    def bulk_histogram(self, definition: Definition) -> BulkHistogram:
        """The histogram of this definition (without labels), for whole batches."""
        assert definition.kind == "histogram", definition.name  # noqa: S101
        assert not definition.labels, definition.name  # noqa: S101
        return BulkHistogram(definition, self.registry)

    def _make(self, definition: Definition) -> Counter | Gauge | Histogram:
        """Metrics appear on first use: a role exposes only what it measures."""
        name = definition.name
        if name not in self._by_name:
            full, labels = f"{PREFIX}_{name}", definition.labels
            if definition.kind == "counter":
                self._by_name[name] = Counter(full, definition.help, labels, registry=self.registry)
            elif definition.kind == "gauge":
                self._by_name[name] = Gauge(full, definition.help, labels, registry=self.registry)
            else:
                self._by_name[name] = Histogram(
                    full, definition.help, labels, registry=self.registry, buckets=definition.buckets
                )
        return self._by_name[name]
