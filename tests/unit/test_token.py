"""What changes state wants the bearer token; everything else stays as open as it was."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from fastapi import APIRouter, Depends
from pydantic import SecretStr

from worker.clock import ManualClock
from worker.configuration import load
from worker.errors import ConfigurationError
from worker.metrics import Metrics
from worker.settings import HttpSettings
from worker.web.health import Health
from worker.web.server import serve
from worker.web.token import REFUSALS, token_guard

TOKEN = "0123456789abcdef-correct"
SETTING = "trends.http.token"


@contextmanager
def served(http: HttpSettings, changed: list[str]) -> Iterator[httpx.Client]:
    """A client of a real server with one route that reads and one that changes something."""
    router = APIRouter()

    @router.get("/things")
    def read() -> list[str]:
        return changed

    @router.post("/things", dependencies=[Depends(token_guard(http, SETTING))], responses=REFUSALS)
    def write(name: str) -> str:
        changed.append(name)
        return name

    health = Health(ManualClock(), 60.0, ())
    with (
        serve(http, Metrics(), health, on_death=lambda: None, routers=[router]) as server,
        httpx.Client(base_url=server.url, timeout=10) as client,
    ):
        yield client


@pytest.fixture
def changed() -> list[str]:
    return []


@pytest.fixture
def guarded(changed: list[str]) -> Iterator[httpx.Client]:
    with served(HttpSettings(token=SecretStr(TOKEN)), changed) as client:
        yield client


def test_the_token_opens(guarded: httpx.Client, changed: list[str]) -> None:
    for scheme in ("Bearer", "bearer"):
        answer = guarded.post("/things?name=a", headers={"Authorization": f"{scheme} {TOKEN}"})
        assert (answer.status_code, answer.json()) == (200, "a")
    assert changed == ["a", "a"]


def test_reading_needs_none(guarded: httpx.Client) -> None:
    assert guarded.get("/things").status_code == 200
    assert guarded.get("/livez").status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        b"Bearer",
        b"Bearer wrong",
        b"Bearer " + TOKEN[:-1].encode(),
        b"Bearer " + TOKEN.encode() + b"x",
        b"Bearer " + TOKEN.upper().encode(),
        b"Bearer " + "ключ-0123456789abcdef".encode(),
        b"Bearer \xff\xfe",
        b"Basic " + TOKEN.encode(),
        TOKEN.encode(),
        b"",
        None,
    ],
)
def test_nothing_else_does(guarded: httpx.Client, changed: list[str], header: bytes | None) -> None:
    headers = {} if header is None else {b"Authorization": header}

    answer = guarded.post("/things?name=a", headers=headers)

    assert (answer.status_code, answer.json()["errorType"]) == (401, "unauthorized")
    assert answer.headers["www-authenticate"].startswith('Bearer realm="moodstream"')
    assert SETTING in answer.json()["error"]
    assert TOKEN not in answer.text
    assert changed == []


def test_a_token_in_the_url_or_a_cookie_is_none(guarded: httpx.Client, changed: list[str]) -> None:
    guarded.cookies.set("Authorization", f"Bearer {TOKEN}")
    assert guarded.post(f"/things?name=a&access_token={TOKEN}").status_code == 401
    assert changed == []


def test_a_wrong_token_is_told_from_a_missing_one(guarded: httpx.Client) -> None:
    missing = guarded.post("/things?name=a").headers["www-authenticate"]
    wrong = guarded.post("/things?name=a", headers={"Authorization": "Bearer wrong"})
    assert "error" not in missing
    assert 'error="invalid_token"' in wrong.headers["www-authenticate"]


def test_without_a_configured_token_nobody_changes_anything(changed: list[str]) -> None:
    with served(HttpSettings(), changed) as client:
        for headers in ({}, {"Authorization": "Bearer"}, {"Authorization": "Bearer None"}):
            answer = client.post("/things?name=a", headers=headers)
            assert (answer.status_code, answer.json()["errorType"]) == (403, "forbidden")
            assert "trends.http.token (MOODSTREAM_TRENDS__HTTP__TOKEN)" in answer.json()["error"]
    assert changed == []


def test_the_refusal_comes_before_the_question_is_looked_at(guarded: httpx.Client) -> None:
    """A stranger learns nothing about what a route takes."""
    answer = guarded.post("/things")
    assert answer.status_code == 401


def test_openapi_says_which_routes_are_guarded(guarded: httpx.Client) -> None:
    document = guarded.get("/openapi.json").json()
    things = document["paths"]["/things"]
    assert things["post"]["security"] == [{"HTTPBearer": []}]
    assert "security" not in things["get"]
    assert {"401", "403"} <= set(things["post"]["responses"])


@pytest.mark.parametrize("token", ["short", "0123456789abcdef\n", "0123456789 abcdef", "0123456789abcdéf"])
def test_a_token_that_no_header_can_carry_stops_the_start(token: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        load(env={"MOODSTREAM_TRENDS__HTTP__TOKEN": token})
    assert "trends.http.token (MOODSTREAM_TRENDS__HTTP__TOKEN)" in str(caught.value)
    assert token not in str(caught.value)
