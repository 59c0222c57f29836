"""The trends loop over a log and a store in memory; the clock moves only when told to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from opentelemetry.trace import Tracer

from tests.support.label_source import TOPIC, FakeSource
from tests.support.labels import NOON
from worker import metrics as m
from worker.clock import ManualClock
from worker.dependency import Dependency
from worker.metrics import Metrics
from worker.trends.count_traces import traces_by
from worker.trends.counting import Batch, ReadLabel, in_json
from worker.trends.live.feed import MemoryLiveFeed, Sampler
from worker.trends.live.hub import Hub
from worker.trends.loop import TrendsLoop
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.store import Limits, Outcome, Position, Prepared, StoreUnavailableError
from worker.trends.windows import Window
from worker.web.health import Health


class Store(MemoryTrendStore):
    """Can be away, and can lose the answer to what it has done."""

    away = False
    loses_answers = 0
    works: Callable[[], object] = staticmethod(lambda: None)
    # What it does between the question and its answer.

    def open(self, partitions: Iterable[int]) -> dict[int, Position | None]:
        self.reach()
        return super().open(partitions)

    def prepare(self, batches: Sequence[Batch]) -> Prepared:
        return _Prepared(self, super().prepare(batches))

    def reach(self) -> None:
        if self.away:
            raise StoreUnavailableError("redis", "ConnectionError: connection refused")


class _Prepared:
    """What such a store does."""

    def __init__(self, store: Store, prepared: Prepared) -> None:
        self._store = store
        self._prepared = prepared

    def apply(self, expected: Sequence[Position | None]) -> list[Outcome]:
        self._store.reach()
        self._store.works()
        outcomes = self._prepared.apply(expected)
        if self._store.loses_answers:
            self._store.loses_answers -= 1
            raise StoreUnavailableError("redis", "TimeoutError: the answer did not come")
        return outcomes


class World:
    """A loop with everything around it; `restart` is a SIGKILL and a new process."""

    def __init__(self, partitions: int = 1, tracer: Tracer | None = None) -> None:
        self.clock = ManualClock(NOON + 100.0)
        self.tracer = tracer
        self.source = FakeSource(partitions)
        self.store = Store(self.clock, Limits(1e9, max_sources=8))
        self.hub = Hub(self.clock)
        self.restart()

    def restart(self) -> None:
        self.metrics = Metrics()
        self.health = Health(self.clock, 60, ())
        self.loop = self.another(self.source)

    def another(self, source: FakeSource, read: ReadLabel = in_json) -> TrendsLoop:
        return TrendsLoop(
            source,
            self.store,
            feed=MemoryLiveFeed(self.hub, Sampler(TOPIC, self.clock)),
            topic=TOPIC,
            max_records=100,
            redis=Dependency("redis", self.clock, self.metrics, self.health),
            clock=self.clock,
            metrics=self.metrics,
            health=self.health,
            traces=traces_by(self.tracer, TOPIC, "the-group", self.clock),
            read=read,
        )

    def turn(self, times: int = 1) -> None:
        for _ in range(times):
            self.loop.run_once()

    @property
    def joy(self) -> int:
        return self.store.read(Window(NOON, NOON + 3600, 3600)).totals["joy"]

    def metric(self, definition: m.Definition, *labels: str) -> float:
        suffix = "_total" if definition.kind == "counter" else ""
        name = f"{m.PREFIX}_{definition.name}{suffix}"
        value = self.metrics.registry.get_sample_value(
            name, dict(zip(definition.labels, labels, strict=True))
        )
        return -1.0 if value is None else value
