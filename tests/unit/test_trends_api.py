"""The trends API: every answer, every refusal, and what /openapi.json says about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.labels import NOON, event
from worker import metrics as m
from worker.clock import ManualClock
from worker.metrics import Metrics
from worker.settings import HttpSettings
from worker.trends.api import BadQueryError, TrendsQuery, parse_step, parse_time, trends_router, window_of
from worker.trends.counting import aggregate
from worker.trends.memory_store import MemoryTrendStore
from worker.trends.store import StoreUnavailableError
from worker.trends.windows import Trend, Window
from worker.types import LABELS
from worker.web.health import Health
from worker.web.server import serve

NOW = NOON + 3600.0
Ask = Callable[..., httpx.Response]


class Store(MemoryTrendStore):
    """Can be away."""

    away = False

    def read(self, window: Window, source: str | None = None) -> Trend:
        if self.away:
            raise StoreUnavailableError("redis", "Connection refused by a-host-inside:6379")
        return super().read(window, source)


@pytest.fixture(scope="module")
def store() -> Store:
    store = Store(ManualClock(NOW), retention_s=1e9, max_sources=8)
    events = [
        event(0, "joy", "tweets", NOON),
        event(1, "joy", "feedback", NOON + 61),
        event(2, "anger", "tweets", NOON + 3599),
        event(3, "joy", "tweets", NOON - 1),
    ]
    store.apply(aggregate(0, 0, 4, events), None)
    return store


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture(scope="module")
def ask(store: Store, metrics: Metrics) -> Iterator[Ask]:
    clock = ManualClock(NOW)
    health = Health(clock, 60, ())
    routers = [trends_router(store, clock)]
    with (
        serve(HttpSettings(), metrics, health, on_death=lambda: None, routers=routers) as server,
        httpx.Client(base_url=server.url, timeout=20) as client,
    ):
        yield lambda path="/api/trends", **parameters: client.get(path, params=parameters)


def _series(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {series["emotion"]: series for series in answer.json()["data"]["series"]}


def test_without_parameters_it_is_the_last_hour_by_minute(ask: Ask) -> None:
    answer = ask().json()
    assert answer["status"] == "success"
    data = answer["data"]
    assert (data["from"], data["to"], data["step"], data["n"]) == (NOON, NOON + 3600, 60, 3)
    assert [series["emotion"] for series in data["series"]] == list(LABELS)
    joy = data["series"][LABELS.index("joy")]
    assert joy["total"] == 2
    assert joy["points"][:3] == [[NOON, 1], [NOON + 60, 1], [NOON + 120, 0]]
    assert len(joy["points"]) == 60


def test_one_emotion_and_one_source(ask: Ask) -> None:
    answer = ask(emotion="joy", source="tweets", step="1h")
    assert list(_series(answer)) == ["joy"]
    assert answer.json()["data"]["n"] == 1
    assert _series(ask(source="nobody"))["joy"]["total"] == 0


def test_a_span_is_widened_to_whole_steps(ask: Ask) -> None:
    data = ask(**{"from": str(NOON + 30), "to": str(NOON + 3601), "step": "1h"}).json()["data"]
    assert (data["from"], data["to"]) == (NOON, NOON + 7200)
    assert data["n"] == 3


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("2026-01-01T12:00:00Z", "2026-01-01T13:00:00Z"),
        ("2026-01-01T14:00:00+02:00", "2026-01-01T13:00:00.000Z"),
        ("2026-01-01T07:00:00-05:00", "now"),
        (str(NOON), f"{NOON + 3600}.0"),
        ("-1h", "-0s"),
        ("-60m", "now"),
    ],
)
def test_times_come_in_three_forms(ask: Ask, start: str, end: str) -> None:
    data = ask(**{"from": start, "to": end}).json()["data"]
    assert (data["from"], data["to"], data["n"]) == (NOON, NOON + 3600, 3)


def test_a_plus_sign_that_became_a_space_is_understood(ask: Ask) -> None:
    assert ask("/api/trends?from=2026-01-01T14:00:00+02:00").json()["data"]["from"] == NOON


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"from": "now", "to": "-1h"}, "from must be before to"),
        ({"from": "5", "to": "5"}, "from must be before to"),
        ({"from": "yesterday"}, "from must be RFC 3339"),
        ({"to": "2026-01-01T12:00:00"}, "to must be RFC 3339 with a time zone"),
        ({"to": "2026-13-01T12:00:00Z"}, "to must be RFC 3339"),
        ({"from": "nan"}, "from must be RFC 3339"),
        ({"from": "1e3"}, "from must be RFC 3339"),
        ({"from": str(NOON * 1000)}, "epoch times are in seconds"),
        ({"from": "0", "to": "99999999999"}, "more than 11000"),
        ({"from": "-9999w"}, "from must lie between 1970"),
        ({"from": ""}, "from must be RFC 3339"),
        ({"step": "90s"}, "step must be whole minutes"),
        ({"step": "61"}, "step must be whole minutes"),
        ({"step": "0"}, "step must be whole minutes"),
        ({"step": "-1m"}, "step must be whole minutes"),
        ({"step": "1y"}, "step must be whole minutes"),
        ({"step": "٣m"}, "step must be whole minutes"),
        ({"step": ""}, "step must be whole minutes"),
        ({"from": "-11001m"}, "11001 points are more than 11000"),
        ({"from": "-36d", "step": "5m"}, "at most 35 days: use step=1h"),
        ({"from": "-3700d", "step": "1w"}, "longer than 3660 days"),
        ({"emotion": "boredom"}, "emotion: Input should be 'sadness'"),
        ({"form": "-1h"}, "form: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    ask: Ask, parameters: dict[str, str], says: str
) -> None:
    answer = ask(**parameters)
    body = answer.json()
    assert answer.status_code == 400, body
    assert (body["status"], body["errorType"]) == ("error", "bad_data")
    assert says in body["error"]


@pytest.mark.parametrize(
    ("parameters", "points"),
    [
        ({"from": "-11000m"}, 11_000),
        ({"from": "-35d", "step": "5m"}, 10_080),
        ({"from": "-1w", "step": "1d"}, 8),
    ],
)
def test_large_questions_are_answered_up_to_the_limit(
    ask: Ask, parameters: dict[str, str], points: int
) -> None:
    assert len(_series(ask(**parameters))["joy"]["points"]) == points


def test_a_redis_that_is_away_is_said_and_when_to_ask_again(ask: Ask, store: Store) -> None:
    store.away = True
    try:
        answer = ask()
    finally:
        store.away = False
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json() == {
        "status": "error",
        "errorType": "unavailable",
        "error": "redis does not answer",
    }


def test_requests_are_counted_by_route(ask: Ask, metrics: Metrics) -> None:
    counter = metrics.counter(m.HTTP_REQUESTS).labels("/api/trends", "400")
    before = counter._value.get()
    ask(step="0")
    assert counter._value.get() == before + 1


def test_openapi_describes_the_answer_and_the_errors(ask: Ask) -> None:
    operation = ask("/openapi.json").json()["paths"]["/api/trends"]["get"]
    names = [parameter["name"] for parameter in operation["parameters"]]
    assert names == ["from", "to", "step", "source", "emotion"]
    assert all(parameter.get("description") for parameter in operation["parameters"])
    assert set(operation["responses"]) == {"200", "400", "503", "default"}


@given(st.text(max_size=30))
def test_no_text_crashes_the_parsers(text: str) -> None:
    for parse in (parse_step, lambda text: parse_time("from", text, NOW)):
        with suppress(BadQueryError):
            assert parse(text) >= 0


def _texts(values: Iterable[int]) -> list[str]:
    return [str(value) for value in values]


@given(
    start=st.integers(0, 4_000_000_000),
    length=st.integers(1, 600_000),
    step=st.sampled_from(["1m", "5m", "1h", "1d", "7m"]),
)
def test_the_window_holds_the_span_and_wastes_less_than_a_step(start: int, length: int, step: str) -> None:
    first, last = _texts([start, start + length])
    window = window_of(TrendsQuery.model_validate({"from": first, "to": last, "step": step}), NOW)
    assert window.start <= start < window.start + window.step
    assert window.end - window.step < start + length <= window.end
