"""GET /api/alerts over HTTP, from a real Redis."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator

import httpx
import msgspec
import pytest
from redis import Redis

from tests.support.alerts import HOUR, alert, ledger
from worker.clock import ManualClock
from worker.local.redis import RealRedis
from worker.metrics import Metrics
from worker.settings import HttpSettings, RedisSettings
from worker.trends.alerts.api import alerts_router, as_csv
from worker.trends.redis_connection import connected
from worker.web.health import Health
from worker.web.server import serve

NOW = 100 * HOUR
Ask = Callable[..., httpx.Response]


@pytest.fixture
def client(redis_server: RealRedis) -> Iterator[Redis]:
    with connected(RedisSettings(url=redis_server.url, timeout_s=2)) as client:
        yield client


@pytest.fixture
def ask(client: Redis) -> Iterator[Ask]:
    ours, clock = ledger(client), ManualClock(NOW)
    ours.lead()
    ours.record(*alert(98 * HOUR), 0)
    ours.record(*alert(99 * HOUR, "anger", "brand"), 0)
    ours.record(*alert(99 * HOUR, "anger"), 0)
    router, health = alerts_router(ours, clock), Health(clock, 60, ())
    with (
        serve(HttpSettings(), Metrics(), health, on_death=lambda: None, routers=[router]) as server,
        httpx.Client(base_url=server.url, timeout=20) as http,
    ):
        yield lambda **parameters: http.get("/api/alerts", params=parameters)


def ids(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    assert answer.json()["status"] == "success"
    return [found["id"] for found in answer.json()["data"]["alerts"]]


def test_the_newest_come_first_and_say_what_happened(ask: Ask) -> None:
    answer = ask()
    assert len(ids(answer)) == 3
    assert ids(answer)[-1] == alert(98 * HOUR)[0].id
    shown = next(found for found in answer.json()["data"]["alerts"] if found["query"] == "brand")
    assert shown["window"] == {"from": 99 * HOUR - 1800, "to": 99 * HOUR}
    assert (shown["value"], shown["baseline"], shown["ratio"], shown["n"]) == (300, 100.0, 3.0, 1000)
    assert (shown["share"], shown["share_baseline"]) == (0.3, 0.1)
    assert shown["samples"] == [1, "a|b"]
    assert shown["text"].startswith("anger about brand: 300 posts from ")


def test_it_can_be_narrowed(ask: Ask) -> None:
    assert ids(ask(emotion="joy")) == [alert(98 * HOUR)[0].id]
    assert ids(ask(query="brand")) == [alert(99 * HOUR, "anger", "brand")[0].id]
    assert ids(ask(kind="volume")) == []
    assert len(ids(ask(limit=2))) == 2
    assert len(ids(ask(**{"from": "-90m"}))) == 2
    assert ids(ask(to=str(98 * HOUR))) == [alert(98 * HOUR)[0].id]


def test_as_csv_it_is_a_line_per_alert(ask: Ask) -> None:
    answer = ask(format="csv")
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    first, *lines = csv.DictReader(io.StringIO(answer.text))
    assert len(lines) == 2
    assert (first["time"], first["time_end"]) == ("1970-01-05T02:30:00Z", "1970-01-05T03:00:00Z")
    assert (first["posts"], first["usual"], first["ratio"], first["n"]) == ("300", "100.0", "3.0", "1000")
    assert len(ask(format="csv", kind="volume").text.splitlines()) == 1


def test_no_cell_is_a_formula() -> None:
    hostile = msgspec.structs.replace(
        alert()[0], query='=HYPERLINK("http://x")', terms=("@sum", 'a"b,c\nd'), samples=("-1+1",)
    )
    [line] = csv.DictReader(io.StringIO(as_csv([hostile])))
    assert line["query"] == '\'=HYPERLINK("http://x")'
    assert line["terms"] == "'@sum a\"b,c\nd"
    assert line["samples"] == "'-1+1"


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({"from": "now", "to": "-1h"}, "from must be before to"),
        ({"from": "yesterday"}, "from must be RFC 3339"),
        ({"emotion": "neutral"}, "emotion: Input should be"),
        ({"limit": "0"}, "limit: Input should be greater"),
        ({"since": "-1h"}, "since: Extra inputs are not permitted"),
    ],
)
def test_what_makes_no_sense_is_refused(ask: Ask, parameters: dict[str, str], says: str) -> None:
    answer = ask(**parameters)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


def test_a_redis_that_is_away_is_said(ask: Ask, redis_server: RealRedis) -> None:
    redis_server.kill()
    answer = ask()
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["error"] == "redis does not answer"
