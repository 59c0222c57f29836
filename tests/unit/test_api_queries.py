"""/api/queries and /api/voice: tracking, refusals with the place of the mistake, share of voice."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.support.api import Served, served
from tests.support.labels import NOON, label
from worker.trends.queries import Query


@pytest.fixture
def api() -> Iterator[Served]:
    with served() as everything:
        yield everything


def put(api: Served, name: str, expression: object) -> httpx.Response:
    return api.client.put(f"/api/queries/{name}", json={"expression": expression}, headers=api.authorised)


def test_a_query_is_tracked_and_listed(api: Served) -> None:
    answer = put(api, "our brand", '"our brand" OR #brand')
    assert answer.status_code == 200, answer.text
    api.check(answer, "/api/queries/{name}", "put")
    assert answer.json()["data"]["name"] == "our brand"
    data = api.data("/api/queries")
    assert data["n"] == 1
    assert data["queries"][0] == answer.json()["data"]
    assert data["queries"][0]["origin"] == "api"
    assert data["queries"][0]["since"] == "2026-01-01T13:00:00Z"


def test_it_is_gone_when_removed_and_not_twice(api: Served) -> None:
    put(api, "brand", "brand")
    answer = api.client.delete("/api/queries/brand", headers=api.authorised)
    assert (answer.status_code, answer.json()["data"]) == (200, {"name": "brand"})
    api.check(answer, "/api/queries/{name}", "delete")
    assert api.data("/api/queries") == {"n": 0, "queries": []}
    again = api.client.delete("/api/queries/brand", headers=api.authorised)
    assert (again.status_code, again.json()["errorType"]) == (404, "not_found")


def test_a_syntax_error_shows_its_place(api: Served) -> None:
    answer = put(api, "brand", "brand AND (shoes OR")
    body = answer.json()
    assert (answer.status_code, body["errorType"]) == (400, "bad_data")
    assert body["position"] == len("brand AND (shoes OR")
    api.check(answer, "/api/queries/{name}", "put")
    assert api.data("/api/queries")["n"] == 0


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("brand", {"expression": ""}),
        ("brand", {"expression": 7}),
        ("brand", {"expression": "x" * 2001}),
        ("brand", {}),
        ("brand", {"expression": "x", "since": "now"}),
        ("brand", []),
        ("x" * 65, {"expression": "x"}),
        ("%20brand", {"expression": "x"}),
        ("a%0Ab", {"expression": "x"}),
    ],
)
def test_what_is_no_query_is_refused(api: Served, name: str, body: object) -> None:
    answer = api.client.put(f"/api/queries/{name}", json=body, headers=api.authorised)
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data"), answer.text
    api.check(answer, "/api/queries/{name}", "put")


def test_nobody_changes_anything_without_the_token(api: Served) -> None:
    refused = [
        api.client.put("/api/queries/brand", json={"expression": "x"}),
        api.client.put(
            "/api/queries/brand", json={"expression": "x"}, headers={"Authorization": "Bearer no"}
        ),
        api.client.delete("/api/queries/brand"),
    ]
    assert [answer.status_code for answer in refused] == [401, 401, 401]
    assert api.data("/api/queries")["n"] == 0


def test_a_query_of_the_file_is_changed_there(api: Served) -> None:
    api.queries.put(Query(name="brand", expression="brand", origin="file"))
    for answer in (put(api, "brand", "x"), api.client.delete("/api/queries/brand", headers=api.authorised)):
        assert (answer.status_code, answer.json()["errorType"]) == (409, "conflict")
        assert "trends.queries_file" in answer.json()["error"]
    assert api.data("/api/queries")["queries"][0]["expression"] == "brand"


def test_too_many_are_refused(api: Served) -> None:
    api.queries._max_queries = 1
    assert put(api, "one", "one").status_code == 200
    answer = put(api, "two", "two")
    assert (answer.status_code, answer.json()["errorType"]) == (409, "conflict")
    assert "remove one first" in answer.json()["error"]


def test_share_of_voice_is_of_all_matches(api: Served) -> None:
    for name in ("tea", "coffee", "milk"):
        put(api, name, name)
    texts = ["tea", "tea with milk", "coffee", "tea", "water"]
    api.count(*(label("joy", "web", NOON + 3000, text=text) for text in texts))
    data = api.data("/api/voice")
    assert data["n"] == 5
    assert [(one["name"], one["n"], one["share"]) for one in data["queries"]] == [
        ("tea", 3, 0.6),
        ("coffee", 1, 0.2),
        ("milk", 1, 0.2),
    ]
    none = api.data("/api/voice", **{"from": "-4h", "to": "-3h"})
    assert (none["n"], none["queries"][0]["share"]) == (0, None)
