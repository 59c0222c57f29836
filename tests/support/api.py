"""The trends API served over a store in memory, and a look at whether answers are what /openapi.json says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import httpx
import jsonschema
from pydantic import SecretStr

from tests.support.labels import NOON
from worker.clock import ManualClock
from worker.errors import DependencyError
from worker.metrics import Metrics
from worker.settings import HttpSettings, ReviewSettings, Settings, TrendsHttpSettings, TrendsSettings
from worker.slices import Review
from worker.stream.confirmed import Written
from worker.trends.counting import Reading, aggregate, decode
from worker.trends.live.hub import Hub
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.queries import Matcher, MemoryQueryStore
from worker.trends.routes import routers
from worker.trends.store import ALL, Filter, Limits, StoreUnavailableError
from worker.trends.windows import Trend, Window
from worker.types import Correction, Record
from worker.web.health import Health
from worker.web.server import serve

NOW = NOON + 3600.0
TOKEN = "0123456789abcdef-correct"
LABELS_TOPIC = "emotion-labels"


class MemoryCorrections:
    """`Corrections` in a list; tests/contract/test_corrections.py holds it to what Kafka does."""

    def __init__(self, topic: str = "emotion-corrections") -> None:
        self.topic = topic
        self.kept: list[Correction] = []
        self.away = False

    def send(self, correction: Correction) -> Written:
        if self.away:
            raise DependencyError("kafka", "nobody answers")
        self.kept.append(correction)
        return Written(self.topic, 0, len(self.kept) - 1)


class AwayStore(MemoryTrendStore):
    """Can be away."""

    away = False

    def read(self, window: Window, narrowed: Filter = ALL) -> Trend:
        if self.away:
            raise StoreUnavailableError("redis", "Connection refused by a-host-inside:6379")
        return super().read(window, narrowed)


@dataclass
class Served:
    """One server and everything behind it."""

    clock: ManualClock
    queries: MemoryQueryStore
    store: AwayStore
    hub: Hub
    corrections: MemoryCorrections
    metrics: Metrics
    client: httpx.Client
    review: Review
    _offset: int = field(default=0)

    def count(self, *values: bytes) -> None:
        """Count labels (tests.support.labels.label) as the loop does."""
        start, self._offset = self._offset, self._offset + len(values)
        records = [
            Record(LABELS_TOPIC, 0, start + number, str(start + number).encode(), value, 0)
            for number, value in enumerate(values)
        ]
        matcher = Matcher({query.id: query.expression for query in self.queries.list()})
        decoded = decode(records, Reading(queries=matcher, review=self.review))
        expected = self.store.open([0])[0]
        self.store.apply(aggregate(0, start, self._offset, decoded.events), expected)
        self.clock.sleep(1)  # so that no answer of before is given again

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(path, params=parameters or None)

    def data(self, path: str, **parameters: Any) -> Any:
        """The data of a good answer, checked against /openapi.json."""
        answer = self.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        self.check(answer, path)
        return answer.json()["data"]

    def check(self, answer: httpx.Response, path: str, method: str = "get") -> None:
        """That an answer is what /openapi.json says of it."""
        document = self.document
        described = document["paths"][path][method]["responses"]
        responses = described.get(str(answer.status_code)) or described["default"]
        check(document, responses["content"]["application/json"]["schema"], answer.json())

    @cached_property
    def document(self) -> Any:
        """/openapi.json."""
        return self.client.get("/openapi.json").json()

    @property
    def authorised(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {TOKEN}"}


def check(document: Mapping[str, Any], schema: Mapping[str, Any], value: Any) -> None:
    """That a value is what a schema of the document says, and holds nothing that the schema does not name."""
    closed = _closed({"components": document["components"], **schema})
    jsonschema.validate(value, closed, jsonschema.Draft202012Validator)


def _closed(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_closed(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    made = {name: _closed(part) for name, part in schema.items()}
    if made.get("type") == "object" and "properties" in made:
        made.setdefault("additionalProperties", False)
    return made


@contextmanager
def served(now: float = NOW) -> Iterator[Served]:
    """Everything that the trends role serves, at a time that stands still."""
    clock = ManualClock(now)
    queries = MemoryQueryStore(clock)
    store = AwayStore(clock, Limits(1e9, max_sources=8, store_text=True), queries)
    hub, corrections, metrics = Hub(clock, most_listeners=3), MemoryCorrections(), Metrics()
    settings = Settings(
        trends=TrendsSettings(http=TrendsHttpSettings(token=SecretStr(TOKEN)), store_text="on"),
        review=ReviewSettings(random_share=0.3),
    )
    routes = routers(settings, reader=store, queries=queries, hub=hub, corrections=corrections, clock=clock)
    with (
        serve(
            HttpSettings(), metrics, Health(clock, 60, ()), on_death=lambda: None, routers=routes, clock=clock
        ) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        yield Served(clock, queries, store, hub, corrections, metrics, client, settings.review.slices)
        hub.close()
