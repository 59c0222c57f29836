"""A report as Prometheus sees it."""

from __future__ import annotations

from prometheus_client import Gauge

from worker import metrics as m
from worker.metrics import Metrics
from worker.quality.report import Report
from worker.replay.paired import Interval


class QualityGauges:
    """Set from one report after another; what a report does not know has no series."""

    def __init__(self, metrics: Metrics) -> None:
        self._labels = metrics.gauge(m.QUALITY_LABELS)
        self._judgements = metrics.gauge(m.QUALITY_JUDGEMENTS)
        self._disagreement = metrics.gauge(m.QUALITY_DISAGREEMENT)
        self._accuracy = tuple(
            map(metrics.gauge, (m.QUALITY_ACCURACY, m.QUALITY_ACCURACY_LOW, m.QUALITY_ACCURACY_HIGH))
        )
        self._macro_f1 = tuple(
            map(metrics.gauge, (m.QUALITY_MACRO_F1, m.QUALITY_MACRO_F1_LOW, m.QUALITY_MACRO_F1_HIGH))
        )
        self._overconfidence = tuple(
            map(
                metrics.gauge,
                (m.QUALITY_OVERCONFIDENCE, m.QUALITY_OVERCONFIDENCE_LOW, m.QUALITY_OVERCONFIDENCE_HIGH),
            )
        )

    def show(self, report: Report) -> None:
        """Show this report and nothing of those before."""
        self.clear()
        self._judgements.set(report.judgements)
        disagreement = report.agreement.disagreement
        self._disagreement.set(float("nan") if disagreement is None else disagreement.value)
        for model, windows in report.models.items():
            for window, slices in windows.items():
                for name, figures in slices.items():
                    where = (model, name, window)
                    self._labels.labels(*where).set(figures.n)
                    _set(self._accuracy, where, figures.accuracy)
                    _set(self._macro_f1, where, figures.macro_f1)
                    _set(self._overconfidence, where, figures.overconfidence)

    def clear(self) -> None:
        """Show nothing: this instance does not know."""
        for gauge in (self._labels, *self._accuracy, *self._macro_f1, *self._overconfidence):
            gauge.clear()
        for gauge in (self._judgements, self._disagreement):
            gauge.set(float("nan"))


def _set(gauges: tuple[Gauge, ...], where: tuple[str, ...], interval: Interval | None) -> None:
    if interval is not None:
        for gauge, value in zip(gauges, (interval.value, interval.low, interval.high), strict=True):
            gauge.labels(*where).set(value)
