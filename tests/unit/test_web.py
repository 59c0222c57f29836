"""Health, metrics and errors over HTTP, and a server that never dies in silence."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import suppress

import httpx
import pytest
from fastapi import APIRouter

from tests.support.waiting import eventually
from worker import metrics as m
from worker.clock import ManualClock
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.settings import HttpSettings
from worker.web.app import create_app
from worker.web.health import Health
from worker.web.server import Server, ServerDiedError, _bound, serve


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def health(clock: ManualClock) -> Health:
    return Health(clock, 60.0, ("assignment", "redis"))


@pytest.fixture
def metrics() -> Metrics:
    return Metrics()


@pytest.fixture
def client(metrics: Metrics, health: Health, clock: ManualClock) -> Iterator[httpx.Client]:
    """A client of the application on a real server, with some routes that a role might add."""
    with (
        serve(
            HttpSettings(), metrics, health, on_death=_unexpected, routers=[_router()], clock=clock
        ) as server,
        httpx.Client(base_url=server.url, timeout=10) as client,
    ):
        yield client


def _unexpected() -> None:
    raise AssertionError("the server died")


def _router() -> APIRouter:
    router = APIRouter()

    @router.get("/broken")
    def broken() -> None:
        raise RuntimeError("a secret of ours")

    @router.get("/items/{item}")
    def item(item: int) -> int:
        return item

    return router


def test_liveness_fails_only_when_the_loop_hangs(
    client: httpx.Client, health: Health, clock: ManualClock
) -> None:
    clock.sleep(60)
    assert client.get("/livez").status_code == 200
    clock.sleep(0.1)
    answer = client.get("/livez")
    assert (answer.status_code, answer.json()) == (503, {"alive": False, "still_s": 60.1})
    health.beat()
    assert client.get("/livez").status_code == 200


def test_readiness_names_each_condition(client: httpx.Client, health: Health) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json() == {"ready": False, "conditions": {"assignment": False, "redis": False}}
    health.set("assignment", True)
    assert client.get("/readyz").json()["conditions"] == {"assignment": True, "redis": False}
    health.set("redis", True)
    assert client.get("/readyz").status_code == 200


def test_an_outage_fails_readiness_and_never_liveness(client: httpx.Client, health: Health) -> None:
    health.set("redis", False)
    health.beat()
    assert client.get("/livez").status_code == 200
    assert client.get("/readyz").status_code == 503


def test_metrics_speak_both_formats(client: httpx.Client, metrics: Metrics) -> None:
    metrics.gauge(m.ASSIGNED).set(3)
    plain = client.get("/metrics")
    assert plain.headers["content-type"].startswith("text/plain")
    assert "moodstream_assigned_partitions 3.0" in plain.text
    modern = client.get("/metrics", headers={"accept": "application/openmetrics-text; version=1.0.0"})
    assert modern.headers["content-type"].startswith("application/openmetrics-text")
    assert modern.text.endswith("# EOF\n")


def test_every_answer_carries_security_headers(client: httpx.Client) -> None:
    for path in ("/livez", "/nowhere", "/broken", "/openapi.json"):
        headers = client.get(path).headers
        assert headers["x-content-type-options"] == "nosniff", path
        assert "default-src 'none'" in headers["content-security-policy"], path


def test_no_page_loads_from_a_cdn(client: httpx.Client) -> None:
    assert client.get("/docs").status_code == 404
    assert client.get("/redoc").status_code == 404
    assert client.get("/openapi.json").status_code == 200


def test_errors_share_one_body(client: httpx.Client) -> None:
    for path, status, kind in (
        ("/nowhere", 404, "not_found"),
        ("/broken", 500, "internal"),
        ("/items/x", 400, "bad_data"),
    ):
        answer = client.get(path)
        body = answer.json()
        assert (answer.status_code, body["status"], body["errorType"]) == (status, "error", kind)
        assert "secret" not in answer.text
    answer = client.post("/livez")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")


def _counted(metrics: Metrics) -> dict[tuple[str, str], float]:
    return {
        (sample.labels["route"], sample.labels["status"]): sample.value
        for family in metrics.registry.collect()
        for sample in family.samples
        if sample.name == "moodstream_http_requests_total"
    }


def test_requests_are_counted_by_the_routes_template(client: httpx.Client, metrics: Metrics) -> None:
    for path in ("/items/1", "/items/2", "/items/x", "/broken", "/a", "/b"):
        client.get(path)
    wanted = {
        ("/items/{item}", "200"): 2,
        ("/items/{item}", "400"): 1,
        ("/broken", "500"): 1,
        ("unmatched", "404"): 2,
    }
    eventually(lambda: _counted(metrics) == wanted)  # behind the answers, which may be here before


def test_the_server_serves_beside_us_and_closes(metrics: Metrics, health: Health) -> None:
    deaths: list[str] = []
    with serve(HttpSettings(), metrics, health, on_death=lambda: deaths.append("died")) as server:
        assert server.port != 0
        assert httpx.get(f"{server.url}/livez").status_code == 200
        with httpx.Client() as kept_open:
            assert kept_open.get(f"{server.url}/readyz").status_code == 503
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{server.url}/livez")
    assert not deaths


def test_no_answer_waits_for_an_acknowledgement() -> None:
    """Nagle's algorithm would hold back an answer's second packet for 40 ms."""
    with _bound(HttpSettings()) as listening, socket.create_connection(listening.getsockname()):
        accepted, _ = listening.accept()
        with accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)


def test_a_port_in_use_fails_the_start(metrics: Metrics, health: Health) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        http = HttpSettings(port=taken.getsockname()[1])
        with pytest.raises(ConfigurationError, match=f"port {http.port}: Address already in use"):
            serve(http, metrics, health, on_death=lambda: None).__enter__()


def test_an_address_that_is_not_ours_fails_the_start(metrics: Metrics, health: Health) -> None:
    with pytest.raises(ConfigurationError, match=r"http\.host"):
        serve(HttpSettings(host="192.0.2.1"), metrics, health, on_death=lambda: None).__enter__()


def test_a_server_that_dies_is_reported_and_raised(
    metrics: Metrics, health: Health, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    died = threading.Event()
    server = Server(create_app(metrics, health, clock), HttpSettings(), on_death=died.set)

    async def fall() -> None:
        raise OSError("the network card fell out")

    server._uvicorn.main_loop = fall  # type: ignore[method-assign]
    server.start()
    assert died.wait(5)
    assert "the server died" in caplog.text
    with pytest.raises(ServerDiedError) as caught:
        server.raise_if_dead()
    assert isinstance(caught.value.__cause__, OSError)
    server.stop()


def test_the_server_ends_while_a_request_hangs(metrics: Metrics, health: Health) -> None:
    router, entered, leave = APIRouter(), threading.Event(), threading.Event()

    @router.get("/slow")
    def slow() -> None:
        entered.set()
        leave.wait(20)

    with serve(HttpSettings(), metrics, health, on_death=lambda: None, routers=[router]) as server:
        caller = threading.Thread(target=lambda: _swallow(f"{server.url}/slow"))
        caller.start()
        assert entered.wait(5)
    leave.set()
    caller.join(10)
    assert not caller.is_alive()


def _swallow(url: str) -> None:
    with suppress(httpx.HTTPError):
        httpx.get(url, timeout=30)
