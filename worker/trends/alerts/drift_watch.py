"""Looking for drift, beside the spikes: told apart from them, and told in their place where it explains them.

1. look       spreads of the last hours by five minutes, and of the last weeks by the hour
2. judge      every window of the spike watch, for the model that gave most of its labels
3. withhold   spikes of emotions in a window that has drifted, until the drift is half a day old: then the
spikes' own baseline has taken it up; where a drift may be beginning, for a quarter of an hour
4. record     each drift, once in `drift_cooldown_hours`
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from worker import metrics as m
from worker.clock import Clock
from worker.distribution import MEASURES
from worker.metrics import Metrics
from worker.settings import AlertSettings
from worker.trends.alerts.baseline import Flags, Floats
from worker.trends.alerts.drift import Rules, Verdict, distance_of, judge, labels_in
from worker.trends.alerts.drift_history import Histories, Known
from worker.trends.alerts.ledger import Ledger, Recorded
from worker.trends.alerts.models import SAME_MIX
from worker.trends.alerts.relabelled import Relabelled, relabelled
from worker.trends.alerts.series import ALL, Series
from worker.trends.shapes import STEP
from worker.trends.store import TrendReader
from worker.trends.windows import HOUR, Window
from worker.types import EMOTIONS, Alert, AlertWindow, DriftMeasure, Emotion

_SAMPLES = 5
_LEAST_BASELINE = 0.01
_DAY_HOURS = 24
_PATIENCE = 3
"""Windows, each five minutes after the other, that a spike waits for whose window is half-way to a drift:
when it has not shown by then, it is none."""

References = Callable[[str], Floats | None]
"""Of a model by `name@version`: (7, columns) counts on its validation texts, if its artefact is at hand."""


class Drift(NamedTuple):
    """What has drifted: told once in a while."""

    measure: DriftMeasure
    model: str
    emotion: Emotion | None = None

    @property
    def key(self) -> str:
        """A name that is this drift's alone; the model comes last, because it may hold the separator."""
        return f"drift/{self.measure}/{self.emotion or ALL}/{self.model}"


class _Found(NamedTuple):
    """One drift in one window."""

    what: Drift
    start: int
    end: int
    psi: float
    usual: float
    n: int
    models: tuple[str, ...]


class _OfModel(NamedTuple):
    known: Known
    n: Floats
    """(T,) labels in each window."""
    verdict: Verdict | None
    """Of all windows; None where too little is known of the model."""


class DriftLook:
    """All windows of a turn."""

    def __init__(self, models: dict[str, _OfModel]) -> None:
        self._models = models
        names = list(models)
        windows = len(models[names[0]].n) if names else 0
        n = np.array([models[name].n for name in names]).reshape(len(names), windows)
        new = np.array([models[name].known.reference is None for name in names], dtype=np.bool_)
        self._main = [
            names[row] if n[row, at] > 0 else None for at, row in enumerate(n.argmax(axis=0) if names else ())
        ]
        self._new: Flags = (n[new].sum(axis=0) > SAME_MIX * n.sum(axis=0)) & (not new.all())
        """(T,) windows that a model has labelled of which too little is known, while of another enough is."""
        self._withheld = self._settle()

    def main(self, at: int) -> str | None:
        """The model that gave most labels of a window."""
        return self._main[at] if at < len(self._main) else None

    def withheld(self, at: int, series: Sequence[Series], spike: Flags) -> Flags:
        """(S,) which spikes of a window are the model's, or may yet turn out to be."""
        if at >= len(self._main):
            return np.zeros_like(spike)
        held = self._withheld[at]
        emotions = [one.emotion is not None and held[EMOTIONS.index(one.emotion)] for one in series]
        return np.array(emotions, dtype=np.bool_) & spike

    def _settle(self) -> Flags:
        """(T, 6) of which emotions no spike is told."""
        drifted = np.zeros((len(self._main), len(EMOTIONS)), dtype=np.bool_)
        half = drifted.copy()
        for at in range(len(self._main)):
            verdict = self._verdict(at)
            if verdict is not None:
                model, found = verdict
                of_all = (found.drifted[at] & ~self._models[model].known.lasting).any()
                drifted[at] = of_all | found.own[at, : len(EMOTIONS)]
                half[at] = found.half[at, : len(EMOTIONS)]
        held: Flags = drifted | self._new[:, None]
        for at in range(len(held)):
            ahead: Flags = drifted[at : at + _PATIENCE + 1]
            held[at] |= half[at] & (ahead.any(axis=0) | (len(ahead) <= _PATIENCE))
        return held

    def found(self, at: int, start: int, end: int, spiking: Sequence[Emotion]) -> Iterator[_Found]:
        """The drifts of a window; of single emotions only those that spike."""
        verdict = self._verdict(at)
        if verdict is None:
            return
        model, found = verdict
        reference = self._models[model].known.reference
        assert reference is not None  # noqa: S101 - there is a verdict
        n = int(self._models[model].n[at])
        for row, measure in enumerate(MEASURES):
            if found.drifted[at, row]:
                psi, usual = found.distance.psi[at, row], reference.level[row]
                yield _Found(Drift(measure, model), start, end, psi, usual, n, (model,))
        if found.drifted[at].any():
            return
        for emotion in spiking:
            row = EMOTIONS.index(emotion)
            if found.own[at, row]:
                psi, usual = found.distance.own[at, row], reference.own_level[row]
                yield _Found(Drift("confidence", model, emotion), start, end, psi, usual, n, (model,))

    def last(self) -> tuple[str, Known, Verdict | None, int, float] | None:
        """The model of the last window, what is known, its verdict and place in it, the window's labels."""
        at = len(self._main) - 1
        model = self.main(at) if self._main else None
        if model is None:
            return None
        one = self._models[model]
        return model, one.known, one.verdict, at, float(one.n[at])

    def _verdict(self, at: int) -> tuple[str, Verdict] | None:
        model = self.main(at)
        verdict = None if model is None else self._models[model].verdict
        return None if model is None or verdict is None else (model, verdict)


class DriftWatch:
    """Steps 1 to 4. Belongs to one thread."""

    def __init__(
        self,
        reader: TrendReader,
        ledger: Ledger,
        references: References,
        *,
        settings: AlertSettings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._reader = reader
        self._ledger = ledger
        self._references = references
        self._settings = settings
        self._clock = clock
        self._rules = Rules(settings.drift_posts, settings.drift_psi, settings.min_deviations)
        self._histories = Histories(reader, settings.weeks, self._rules, clock)
        self._psi = metrics.gauge(m.DRIFT_PSI)

    def look(self, start: int, end: int, steps: int) -> DriftLook:
        """Steps 1 and 2, for every window of so many `STEP`s between two times (epoch seconds).

        Raises:
            StoreUnavailableError: the store does not answer.
        """
        if self._settings.drift == "off":
            return DriftLook({})
        hours = range(start // HOUR, -(-end // HOUR))
        self._histories.look(hours)
        models = {}
        for model, spread in self._reader.spreads(Window(start, end, STEP)).items():
            sums = np.cumsum(np.pad(spread, ((1, 0), (0, 0), (0, 0))), axis=0)
            windows = sums[steps:] - sums[:-steps]
            known = self._histories.of(model, hours)
            verdict = None if known.reference is None else judge(windows, known.reference, self._rules)
            models[model] = _OfModel(known, labels_in(windows), verdict)
        return DriftLook(models)

    def told(
        self, look: DriftLook, at: int, start: int, end: int, spiking: Sequence[Emotion]
    ) -> Iterator[tuple[Alert, Recorded]]:
        """Step 4: record the drifts of a window."""
        yield from self._record(look.found(at, start, end, spiking))

    def finish(self, look: DriftLook, end: int) -> Iterator[tuple[Alert, Recorded]]:
        """What is looked at once a turn: a day, where windows are too small; a new model; and the gauges."""
        self._psi.clear()
        last = look.last()
        if last is None:
            return
        model, known, verdict, at, n = last
        day_end = (-(-end // HOUR) - 1) * HOUR  # the last hour is under way
        small = n < self._rules.min_posts
        if small and known.day is not None:
            self._show_each("weeks", known.day.distance.psi)
        elif verdict is not None:
            self._show_each("weeks", verdict.distance.psi[at])
        if small and known.day is not None:
            yield from self._record(_of_day(model, known, day_end))
        given = self._references(model)
        if given is not None and known.last_day.sum() > 0:
            self._show_each("artefact", distance_of(known.last_day, given).psi)
        beside = relabelled(*self._histories.labels(model), self._rules)
        if beside is not None:
            self._psi.labels("labels", "model").set(round(beside.psi, 4))
            yield from self._record(self._of_new(model, beside, end))

    def _of_new(self, model: str, beside: Relabelled, end: int) -> Iterator[_Found]:
        if not beside.moved:
            return
        before = self._histories.before(model, beside.hours)
        own, _ = self._histories.labels(model)
        start = (-(-end // HOUR) - beside.hours) * HOUR
        n = int(own[-beside.hours :].sum())
        models = (model,) if before is None else (model, before)
        yield _Found(Drift("labels", model), start, end, beside.psi, beside.usual, n, models)

    def _record(self, found: Iterator[_Found]) -> Iterator[tuple[Alert, Recorded]]:
        cooldown_s = self._settings.drift_cooldown_hours * HOUR
        for one in found:
            [last] = self._ledger.quiet([one.what])
            if last is not None and abs(one.end - last) < cooldown_s:
                continue
            alert = self._alert(one)
            yield alert, self._ledger.record(alert, one.what, cooldown_s)

    def _alert(self, one: _Found) -> Alert:
        samples = self._reader.samples(
            Window.around(one.start, one.end, STEP), one.what.emotion, limit=_SAMPLES
        )
        usual = max(float(one.usual), _LEAST_BASELINE)
        return Alert(
            id=f"{one.what.key}/{one.end}",
            kind="drift",
            measure=one.what.measure,
            window=AlertWindow(one.start, one.end),
            value=round(float(one.psi), 4),
            baseline=round(usual, 4),
            ratio=round(float(one.psi) / usual, 3),
            n=one.n,
            emotion=one.what.emotion,
            samples=tuple(sample.id for sample in samples),
            models=one.models,
            at=datetime.fromtimestamp(self._clock.time(), UTC),
        )

    def _show_each(self, against: str, psi: Floats) -> None:
        for measure, value in zip(MEASURES, psi.tolist(), strict=True):
            if not np.isnan(value):
                self._psi.labels(measure, against).set(round(value, 4))


def _of_day(model: str, known: Known, end: int) -> Iterator[_Found]:
    """The drifts of the last whole day."""
    assert known.day is not None  # noqa: S101 - asked for where there is one
    assert known.reference is not None  # noqa: S101
    n = int(labels_in(known.last_day))
    for row, measure in enumerate(MEASURES):
        if known.day.drifted[row]:
            psi, usual = known.day.distance.psi[row], known.reference.level[row]
            yield _Found(Drift(measure, model), end - _DAY_HOURS * HOUR, end, psi, usual, n, (model,))
