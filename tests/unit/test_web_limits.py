"""Clients that ask too much, too slowly, or under a name that is not ours: a real server and real sockets."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from fastapi import APIRouter, Request
from pydantic import BaseModel

from worker.clock import Clock, ManualClock
from worker.metrics import Metrics
from worker.settings import HttpSettings
from worker.web import connection
from worker.web.health import Health
from worker.web.limits import MOST_BODY_BYTES, Rate, host_name, is_loopback
from worker.web.server import serve


class Body(BaseModel):
    text: str


def router() -> APIRouter:
    made = APIRouter()

    @made.post("/parsed")
    def parsed(body: Body) -> int:
        return len(body.text)

    @made.post("/raw")
    async def raw(request: Request) -> int:
        return len(await request.body())

    @made.get("/large")
    def large() -> str:
        return "x" * 20_000_000

    return made


@contextmanager
def served(clock: Clock | None = None, **http: Any) -> Iterator[httpx.Client]:
    settings = HttpSettings(**http)
    health = Health(ManualClock(), 60.0, ())
    with (
        serve(settings, Metrics(), health, on_death=lambda: None, routers=[router()], clock=clock) as server,
        httpx.Client(base_url=f"http://127.0.0.1:{server.port}", timeout=10) as client,
    ):
        yield client


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with served(requests_per_s=0) as made:
        yield made


def raw_connection(client: httpx.Client) -> socket.socket:
    made = socket.create_connection(("127.0.0.1", client.base_url.port or 0), timeout=10)
    made.settimeout(10)
    return made


def ended(connection: socket.socket) -> bool:
    """Whether the server has closed it, within the socket's time-out."""
    try:
        while connection.recv(65_536):
            pass
    except ConnectionError:
        pass
    except TimeoutError:
        return False
    return True


class TestSize:
    @pytest.mark.parametrize("path", ["/parsed", "/raw", "/livez", "/nowhere"])
    def test_a_body_that_says_it_is_too_large_is_not_read(self, client: httpx.Client, path: str) -> None:
        answer = client.post(path, content=b" " * (MOST_BODY_BYTES + 1))
        assert (answer.status_code, answer.json()["errorType"]) == (413, "too_large")
        assert answer.headers["x-content-type-options"] == "nosniff"

    @pytest.mark.parametrize("path", ["/parsed", "/raw"])
    def test_nor_is_one_that_does_not_say(self, client: httpx.Client, path: str) -> None:
        chunks = (b" " * 8192 for _ in range(MOST_BODY_BYTES // 8192 + 1))
        answer = client.post(path, content=chunks)
        assert (answer.status_code, answer.json()["errorType"]) == (413, "too_large")

    def test_the_largest_body_is_taken(self, client: httpx.Client) -> None:
        assert client.post("/raw", content=b" " * MOST_BODY_BYTES).json() == MOST_BODY_BYTES
        text = "x" * (MOST_BODY_BYTES - len('{"text":""}'))
        assert client.post("/parsed", json={"text": text}).json() == len(text)

    def test_headers_are_small(self, client: httpx.Client) -> None:
        assert client.get("/livez", headers={"X": "x" * 15_000}).status_code == 200
        answer = client.get("/livez", headers={"X": "x" * 17_000})
        assert (answer.status_code, answer.json()["errorType"]) == (431, "too_large")

    def test_headers_end_somewhere(self, client: httpx.Client) -> None:
        with raw_connection(client) as sender:
            sender.sendall(b"GET /livez HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 40_000)
            answer = b""
            while b"}" not in answer:
                answer += sender.recv(4096)
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 400")
        assert b"nosniff" in head
        assert b'"errorType":"bad_request"' in body

    @pytest.mark.parametrize(
        "garbage",
        [b"\x16\x03\x01\x02\x00\x01", b"GET / HTTP/9\r\n\r\n", b"\r\n\r\n\x00\x00\r\n\r\n", b"G\r\n\r\n"],
    )
    def test_what_is_not_http_is_closed_and_not_logged(
        self, client: httpx.Client, caplog: pytest.LogCaptureFixture, garbage: bytes
    ) -> None:
        with raw_connection(client) as sender:
            sender.sendall(garbage)
            sender.shutdown(socket.SHUT_WR)
            assert ended(sender)
        assert client.get("/livez").status_code == 200
        # Of the server: the client may log that it asked, where a test before this one has set the level.
        assert len([record for record in caplog.records if record.name.startswith("uvicorn")]) <= 1


class TestName:
    @pytest.mark.parametrize(
        "name", ["localhost", "LOCALHOST:9464", "127.0.0.1", "127.0.0.1:1", "[::1]:80", "10.0.0.7"]
    )
    def test_this_machine_and_addresses_are_known(self, client: httpx.Client, name: str) -> None:
        assert client.get("/metrics", headers={"Host": name}).status_code == 200

    @pytest.mark.parametrize(
        "name", ["evil.example", "localhost.evil.example:80", "127.0.0.1.evil.example", ""]
    )
    def test_a_page_that_points_its_name_here_reads_nothing(self, client: httpx.Client, name: str) -> None:
        for path in ("/metrics", "/openapi.json", "/raw"):
            answer = client.get(path, headers={"Host": name})
            assert (answer.status_code, answer.json()["errorType"]) == (421, "misdirected"), path
            assert "http.allowed_hosts" in answer.json()["error"]

    def test_a_proxys_name_can_be_allowed(self) -> None:
        with served(allowed_hosts="moods.example.com, other.example") as client:
            for name in ("moods.example.com", "Moods.Example.com:443", "other.example.", "127.0.0.1"):
                assert client.get("/livez", headers={"Host": name}).status_code == 200, name
            assert client.get("/livez", headers={"Host": "evil.example"}).status_code == 421

    def test_a_server_for_everybody_has_any_name(self) -> None:
        with served(host="0.0.0.0") as client:
            assert client.get("/livez", headers={"Host": "trends.namespace.svc"}).status_code == 200

    def test_names_without_ports(self) -> None:
        assert [host_name(h) for h in ("A.b:80", "a.b.", "[::1]:80", "[::1]", "")] == [
            "a.b",
            "a.b",
            "::1",
            "::1",
            "",
        ]
        assert is_loopback("127.8.8.8")
        assert not is_loopback("0.0.0.0")

    def test_no_other_page_may_read_or_send_what_is_more_than_a_form(self, client: httpx.Client) -> None:
        """Without an answer to its preflight a browser sends no Authorization header from another page."""
        origin = {"Origin": "https://evil.example", "Access-Control-Request-Headers": "authorization",
                  "Access-Control-Request-Method": "POST"}  # fmt: skip
        asked = client.options("/parsed", headers=origin)
        read = client.get("/livez", headers=origin)
        assert asked.status_code == 405
        for answer in (asked, read):
            assert not [name for name in answer.headers if name.startswith("access-control")]
            assert answer.headers["cross-origin-resource-policy"] == "same-origin"


class TestRate:
    def test_who_asks_too_often_is_told_when_to_ask_again(self) -> None:
        clock = ManualClock()
        with served(clock, requests_per_s=5) as client:
            burst = [client.get("/metrics").status_code for _ in range(25)]
            assert burst == [200] * 20 + [429] * 5
            answer = client.get("/metrics")
            assert (answer.headers["retry-after"], answer.json()["errorType"]) == ("1", "too_many_requests")
            assert client.get("/livez").status_code == client.get("/readyz").status_code == 200
            clock.sleep(1)
            assert [client.get("/metrics").status_code for _ in range(6)] == [200] * 5 + [429]

    def test_each_address_has_its_own(self) -> None:
        rate = Rate(1, ManualClock())
        assert [rate.allows("a") for _ in range(5)] == [True] * 4 + [False]
        assert rate.allows("b")

    def test_only_so_many_addresses_are_remembered(self) -> None:
        rate = Rate(1, ManualClock())
        for number in range(3000):
            rate.allows(str(number))
        assert len(rate._left) == 1024

    def test_less_than_one_a_second_still_lets_one_through(self) -> None:
        clock = ManualClock()
        rate = Rate(0.1, clock)
        assert [rate.allows("a"), rate.allows("a")] == [True, False]
        clock.sleep(10)
        assert rate.allows("a")


class TestPatience:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(connection, "REQUEST_S", 0.6)
        monkeypatch.setattr(connection, "ANSWER_S", 0.6)
        monkeypatch.setattr(connection, "_LOOK_S", 0.1)

    @pytest.mark.parametrize(
        "begun",
        [
            b"",
            b"GET /livez HTT",
            b"POST /raw HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\nab",
            b"GET /livez HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n",
        ],
    )
    def test_who_never_ends_a_request_is_closed(self, client: httpx.Client, begun: bytes) -> None:
        with raw_connection(client) as slow:
            slow.sendall(begun)
            assert ended(slow)

    def test_a_byte_now_and_then_does_not_help(self, client: httpx.Client) -> None:
        def drip(slow: socket.socket) -> None:
            for _ in range(100):
                slow.sendall(b"X")
                time.sleep(0.05)

        with raw_connection(client) as slow, pytest.raises(ConnectionError):
            drip(slow)

    def test_who_never_reads_is_closed(self, client: httpx.Client) -> None:
        with raw_connection(client) as deaf:
            deaf.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(1.5)
            assert ended(deaf)

    def test_who_reads_slowly_gets_it_all(self, client: httpx.Client) -> None:
        with client.stream("GET", "/large") as answer:
            taken = 0
            for number, chunk in enumerate(answer.iter_bytes(1_000_000)):
                taken += len(chunk)
                time.sleep(0.1 if number < 10 else 0)
        assert taken == 20_000_002

    def test_a_quiet_client_is_not_closed_between_two_requests(self, client: httpx.Client) -> None:
        for _ in range(8):
            assert client.get("/livez").status_code == 200
            time.sleep(0.1)

    def test_many_idle_connections_keep_nobody_out(
        self, client: httpx.Client, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(connection, "REQUEST_S", 60.0)
        monkeypatch.setattr(connection, "MOST_CONNECTIONS", 8)
        with ExitStack() as open_ones:
            idle = [open_ones.enter_context(raw_connection(client)) for _ in range(20)]
            assert client.get("/livez").status_code == 200
            idle[0].settimeout(5)
            assert ended(idle[0])
            idle[-1].settimeout(0.3)
            assert not ended(idle[-1])
