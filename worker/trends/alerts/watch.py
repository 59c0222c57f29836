"""Looking for spikes, one turn of which is `turn`.

    1. recent    counts by five minutes of all posts and of each tracked query, as far back as is looked
    2. usual     what each hour of that span usually holds
    3. judge     every window, oldest first: drift (see `drift_watch`), and spikes that no drift explains
    4. record    each spike, with what its posts speak of, once and not while its series is to be quiet

Windows are looked at again and again while they are within reach, so that what was counted late (a Redis or a
worker that was away) is found late instead of never; recording makes sure that it is found once.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

import numpy as np

from worker import metrics as m
from worker.clock import Clock
from worker.metrics import Metrics
from worker.settings import AlertSettings
from worker.trends.alerts.baseline import Flags, Floats
from worker.trends.alerts.deliver import channel_kind
from worker.trends.alerts.drift_watch import DriftLook, DriftWatch, References
from worker.trends.alerts.history import STEP, Counts, Group, recent
from worker.trends.alerts.judge import Expected, Places, Rules, Verdict, expected, judge
from worker.trends.alerts.ledger import Ledger, Recorded
from worker.trends.alerts.models import Mix, ModelMix, by_share, comparable
from worker.trends.alerts.series import ALL, Series, all_series
from worker.trends.alerts.usuals import Usuals
from worker.trends.queries import Query, UnknownQueryError
from worker.trends.store import ALL as EVERYTHING
from worker.trends.store import Filter, TrendReader
from worker.trends.terms import TermKind, terms_of
from worker.trends.text import tokens
from worker.trends.windows import HOUR, MINUTE, Window
from worker.types import EMOTIONS, Alert, AlertWindow

_TERMS: tuple[tuple[TermKind, int], ...] = (("term", 5), ("hashtag", 3), ("emoji", 2))
_SAMPLES = 5
_READ = 50
"""Samples that a query's terms are counted in."""

log = logging.getLogger(__name__)


class SpikeWatch:
    """Steps 1 to 4. Belongs to one thread."""

    def __init__(
        self,
        reader: TrendReader,
        queries: Callable[[], Sequence[Query]],
        mix: ModelMix,
        ledger: Ledger,
        references: References = lambda _: None,
        *,
        settings: AlertSettings,
        clock: Clock,
        metrics: Metrics,
    ) -> None:
        self._reader = reader
        self._queries = queries
        self._mix = mix
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._meter = _Meter(metrics)
        self._rules = Rules(settings.min_posts, settings.min_ratio, settings.min_deviations)
        self._usuals = Usuals(reader, settings.weeks, clock)
        self._drift = DriftWatch(reader, ledger, references, settings=settings, clock=clock, metrics=metrics)

    def turn(self) -> list[Alert]:
        """Judge every window within reach; answers what was recorded.

        Raises:
            StoreUnavailableError: Redis does not answer; the next turn looks at the same windows again.
        """
        window_s = self._settings.window_minutes * MINUTE
        end = int(self._clock.time()) // STEP * STEP
        start = end - self._settings.reach_minutes * MINUTE // STEP * STEP - window_s
        try:
            groups = self._recent(start, end)  # 1. recent
            hours = range(start // HOUR, -(-end // HOUR))
            mixes, same = self._models(hours)
            usually = self._usuals.of(groups, hours, same)  # 2. usual
            look = _Look(groups, start, window_s)
            drift = self._drift.look(start, end, window_s // STEP)
            recorded: list[Alert] = []
            for number, at in enumerate(look.windows()):  # 3. judge
                expect = expected([(fraction, usually[hour]) for fraction, hour in at.hours], look.places)
                verdict = judge(at.part, at.whole, expect, look.places, self._rules)
                recorded += self._told(drift, number, at, look.series, verdict)
                withheld = drift.withheld(number, look.series, verdict.spike)
                models = by_share(mixes[hour - hours.stop] for _, hour in at.hours)
                rest = verdict._replace(spike=verdict.spike & ~withheld)
                recorded += self._record(look.series, at, rest, models)  # 4. record
            recorded += self._new(self._drift.finish(drift, end))
        except UnknownQueryError as gone:  # removed just now: the next turn does without it
            log.info("not judged in this turn: %s", gone)
            return []
        self._meter.judged(end, look, expect, mixed=not same[hours[-1]].all(), withheld=int(withheld.sum()))
        return recorded

    def _recent(self, start: int, end: int) -> list[Group]:
        """All posts, and each query that has enough posts for a spike anywhere."""
        groups = [Group(None, recent(self._reader, None, start, end))]
        for query in self._queries():
            counts = recent(self._reader, query.name, start, end)
            if counts[0].sum() >= self._rules.min_posts:
                groups.append(Group(query, counts))
        return groups

    def _models(self, hours: range) -> tuple[Sequence[Mix], dict[int, Flags]]:
        """The mixes of models up to the last hour, and for each hour which of those before it are alike."""
        back = self._usuals.hours
        mixes = self._mix.read(range(hours.start - back, hours.stop))
        same = {
            hour: comparable(mixes[at : at + back], _latest(mixes[: at + back + 1]))
            for at, hour in enumerate(hours)
        }
        return mixes, same

    def _told(
        self, drift: DriftLook, number: int, at: _At, series: Sequence[Series], verdict: Verdict
    ) -> Iterator[Alert]:
        """The drifts of a window."""
        spiking = {series[row].emotion for row in np.flatnonzero(verdict.spike).tolist()}
        ordered = [emotion for emotion in EMOTIONS if emotion in spiking]
        return self._new(self._drift.told(drift, number, at.start, at.end, ordered))

    def _new(self, recorded: Iterable[tuple[Alert, Recorded]]) -> Iterator[Alert]:
        for alert, (outcome, dropped) in recorded:
            self._meter.dropped(dropped)
            if outcome == "new":
                self._meter.found(alert)
                yield alert

    def _record(
        self, series: Sequence[Series], at: _At, verdict: Verdict, models: tuple[str, ...]
    ) -> Iterator[Alert]:
        rows = np.flatnonzero(verdict.spike).tolist()
        cooldown_s = self._settings.cooldown_minutes * MINUTE
        quiet = self._ledger.quiet([series[row] for row in rows])
        for row, last in zip(rows, quiet, strict=True):
            if last is not None and abs(at.end - last) < cooldown_s:
                continue
            alert = self._alert(series[row], at, verdict, row, models)
            yield from self._new([(alert, self._ledger.record(alert, series[row], cooldown_s))])

    def _alert(self, series: Series, at: _At, verdict: Verdict, row: int, models: tuple[str, ...]) -> Alert:
        window = Window(at.start, at.end, STEP)
        share = float(verdict.share_baseline[row])
        narrowed = EVERYTHING if series.query is None else Filter(query=series.query)
        samples = self._reader.samples(window, series.emotion, narrowed, _READ)
        if series.query is None and series.emotion is not None:
            terms = [
                found.term
                for kind, limit in _TERMS
                for found in self._reader.terms(window, series.emotion, kind, limit)
            ]
        else:  # counters hold no terms by query
            terms = _common(sample.text for sample in samples)
        return Alert(
            id=f"{series.key}/{at.end}",
            kind="volume" if series.emotion is None else "emotion",
            window=AlertWindow(at.start, at.end),
            value=int(at.part[row]),
            baseline=round(float(verdict.baseline[row]), 2),
            ratio=round(float(verdict.ratio[row]), 3),
            n=int(at.whole[row]),
            share_baseline=None if np.isnan(share) else round(share, 6),
            emotion=series.emotion,
            query=series.query,
            terms=tuple(terms),
            samples=tuple(sample.id for sample in samples[:_SAMPLES]),
            models=models,
            at=datetime.fromtimestamp(self._clock.time(), UTC),
        )


class _At(NamedTuple):
    """One window."""

    start: int
    end: int
    part: Floats
    whole: Floats
    hours: list[tuple[float, int]]
    """The hours that it touches, since the epoch, each with the fraction of it that lies in the window."""


class _Look:
    """All windows of a turn, as arrays over all series."""

    def __init__(self, groups: Sequence[Group], start: int, window_s: int) -> None:
        self.series = list(all_series(name for group in groups if (name := group.name) is not None))
        self.places = Places.of(self.series)
        self._start = start
        self._steps = window_s // STEP
        part = np.concatenate([group.recent for group in groups])
        whole = part[self.places.parent].copy()
        whole[self.places.volume] = part[0]
        self._part, self._whole = _running(part), _running(whole)

    def windows(self) -> Iterator[_At]:
        """Oldest first."""
        for last in range(self._steps, self._part.shape[1]):
            first = last - self._steps
            start, end = self._start + first * STEP, self._start + last * STEP
            hours = [
                ((min(end, (hour + 1) * HOUR) - max(start, hour * HOUR)) / HOUR, hour)
                for hour in range(start // HOUR, -(-end // HOUR))
            ]
            part, whole = (sums[:, last] - sums[:, first] for sums in (self._part, self._whole))
            yield _At(start, end, part, whole, hours)


class _Meter:
    """What the watch tells about itself."""

    def __init__(self, metrics: Metrics) -> None:
        self._found = metrics.counter(m.ALERTS)
        for emotion in EMOTIONS:  # a counter that appears with its first alert has no increase
            self._found.labels("emotion", emotion)
        for kind in ("volume", "drift"):
            self._found.labels(kind, ALL)
        self._deliveries = metrics.counter(m.ALERTS_DELIVERED)
        self._silent = metrics.gauge(m.ALERTS_SILENT)
        self._judged = metrics.gauge(m.ALERTS_JUDGED)

    def found(self, alert: Alert) -> None:
        """An alert was recorded for the first time."""
        self._found.labels(alert.kind, alert.emotion or ALL).inc()

    def dropped(self, counts: dict[str, int]) -> None:
        """Alerts had to leave full queues."""
        for channel, n in counts.items():
            self._deliveries.labels(channel_kind(channel), "dropped").inc(n)

    def judged(self, end: int, look: _Look, last: Expected, *, mixed: bool, withheld: int) -> None:
        """All windows up to `end` were judged; `last` is what the last one was judged by.

        `withheld`: spikes of the last window that a drift explains.
        """
        silent = Counter(
            "new_model" if mixed and not volume else "young"
            for ready, volume in zip(last.ready, look.places.volume, strict=True)
            if not ready
        )
        for reason in ("young", "new_model"):
            self._silent.labels(reason).set(silent[reason])
        self._silent.labels("drift").set(withheld)
        self._judged.set(end)


def _running(counts: Counts) -> Floats:
    return np.cumsum(np.pad(counts.astype(np.float64), ((0, 0), (1, 0))), axis=1)


def _latest(mixes: Sequence[Mix]) -> Mix:
    """The last mix that is known: of the hour in question, or of the last one that had labels."""
    return next((mix for mix in reversed(mixes) if mix), {})


def _common(texts: Iterable[str | None]) -> list[str]:
    """The terms that most of these texts hold, those of a single text left out."""
    n = Counter(term for text in texts if text for term in terms_of(tokens(text)))
    return [term for term, held in n.most_common(sum(limit for _, limit in _TERMS)) if held > 1]
