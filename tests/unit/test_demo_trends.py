from __future__ import annotations

import threading
from collections.abc import Iterator

import pytest
from fastapi import APIRouter

from worker.clock import ManualClock
from worker.demo.http import answers_ok, get_json
from worker.demo.trends import NOWHERE, counted, current
from worker.errors import DependencyError
from worker.local.processes import free_port
from worker.metrics import Metrics
from worker.settings import HttpSettings
from worker.trends.api import Answers, trends_router
from worker.trends.counting import Cell, Event, aggregate
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.queries import MemoryQueryStore
from worker.trends.store import Limits
from worker.web.health import Health
from worker.web.server import serve

NOW = 1_700_000_130
MINUTE = NOW // 60


@pytest.fixture
def store() -> MemoryTrendStore:
    cells = [Cell(MINUTE, "joy", "web"), Cell(MINUTE, "joy", "web"), Cell(MINUTE - 1, "fear", "ios")]
    made = MemoryTrendStore(ManualClock(NOW), Limits(86_400, max_sources=8))
    made.open([0])
    made.apply(aggregate(0, 0, 3, [Event(offset, cell) for offset, cell in enumerate(cells)]), None)
    return made


@pytest.fixture
def url(store: MemoryTrendStore) -> Iterator[str]:
    clock = ManualClock(NOW)
    routers: list[APIRouter] = [trends_router(store, MemoryQueryStore(clock), clock, Answers(clock))]
    death = threading.Event()
    health = Health(clock, 60, ())
    with serve(HttpSettings(), Metrics(), health, on_death=death.set, routers=routers) as server:
        yield server.url
    assert not death.is_set()


LABELLED = {(MINUTE * 60, "joy", "web"): 2, (MINUTE * 60 - 60, "fear", "ios"): 1}


def test_the_mood_is_that_of_the_last_minutes(url: str) -> None:
    mood = current(url)

    assert {name: n for name, n in mood.counts.items() if n} == {"joy": 2, "fear": 1}
    assert len(mood.counts) == 7


def test_equal_counts_are_equal(url: str) -> None:
    assert counted(url, LABELLED) == LABELLED


def test_a_count_that_no_label_explains_is_found(url: str) -> None:
    found = counted(url, {(MINUTE * 60, "joy", "web"): 2})

    assert found == {(MINUTE * 60, "joy", "web"): 2, (MINUTE * 60 - 60, "fear", NOWHERE): 1}


def test_a_label_that_is_not_counted_is_missing(url: str) -> None:
    assert counted(url, {**LABELLED, (MINUTE * 60, "anger", "web"): 1}) == LABELLED


def test_a_demo_of_weeks_is_compared_too(url: str) -> None:
    long_ago = {**LABELLED, ((MINUTE - 20_000) * 60, "anger", "web"): 1}

    assert counted(url, long_ago) == LABELLED


def test_without_labels_there_is_nothing_to_compare(url: str) -> None:
    assert counted(url, {}) == {}


def test_nobody_there() -> None:
    nowhere = f"http://127.0.0.1:{free_port()}"

    assert not answers_ok(nowhere)
    with pytest.raises(DependencyError, match=nowhere):
        current(nowhere)


def test_a_refusal_is_shown(url: str) -> None:
    with pytest.raises(DependencyError, match="answers 400"):
        get_json(f"{url}/api/trends", step="1")
    assert not answers_ok(f"{url}/nothing")
