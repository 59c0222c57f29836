"""POST /api/corrections: what is taken, what is refused, and what is said when Kafka is away."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import httpx
import pytest

from tests.support.api import NOW, Served, served

GOOD = {"id": "1841", "label": "anger", "label_ref": "emotion-labels/3/1841", "by": "ana"}


@pytest.fixture(scope="module")
def served_once() -> Iterator[Served]:
    with served() as everything:
        yield everything


@pytest.fixture
def api(served_once: Served) -> Served:
    served_once.corrections.kept.clear()
    served_once.corrections.away = False
    return served_once


def post(api: Served, body: object, headers: Mapping[str, str] | None = None) -> httpx.Response:
    return api.client.post("/api/corrections", json=body, headers=headers or api.authorised)


def test_a_correction_is_kept_before_it_is_answered(api: Served) -> None:
    answer = post(api, GOOD)
    assert answer.status_code == 202
    api.check(answer, "/api/corrections", "post")
    assert answer.json()["data"] == {"ref": "emotion-corrections/0/0", "at": "2026-01-01T13:00:00Z"}
    (kept,) = api.corrections.kept
    assert (kept.id, kept.label, kept.label_ref, kept.by) == ("1841", "anger", "emotion-labels/3/1841", "ana")
    assert kept.at.timestamp() == NOW


def test_a_numeric_id_stays_a_number(api: Served) -> None:
    assert post(api, {**GOOD, "id": 1841}).status_code == 202
    assert api.corrections.kept[0].id == 1841


def test_who_need_not_be_said(api: Served) -> None:
    assert post(api, {name: value for name, value in GOOD.items() if name != "by"}).status_code == 202
    assert api.corrections.kept[0].by == "page"


@pytest.mark.parametrize(
    "wrong",
    [
        {"label": "boredom"},
        {"label": None},
        {"label_ref": "tweets/3/1841"},
        {"label_ref": "emotion-labels/3"},
        {"label_ref": "emotion-labels/3/1841/1"},
        {"label_ref": "emotion-labels/3/-1"},
        {"label_ref": "emotion-labels/3/1841\n"},
        {"label_ref": "emotion-labels/" + "9" * 300},
        {"id": ""},
        {"id": "x" * 1025},
        {"id": 1.5},
        {"id": True},
        {"id": None},
        {"by": ""},
        {"by": "x" * 65},
        {"by": "a\nb"},
        {"at": "2026-01-01T13:00:00Z"},
        {"text": "hello"},
    ],
)
def test_what_is_no_correction_is_refused(api: Served, wrong: dict[str, object]) -> None:
    answer = post(api, {**GOOD, **wrong})
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data"), answer.text
    api.check(answer, "/api/corrections", "post")
    assert api.corrections.kept == []


@pytest.mark.parametrize("name", ["id", "label", "label_ref"])
def test_what_is_missing_is_named(api: Served, name: str) -> None:
    answer = post(api, {key: value for key, value in GOOD.items() if key != name})
    assert answer.status_code == 400
    assert f"{name}: Field required" in answer.json()["error"]


def test_nobody_corrects_without_the_token(api: Served) -> None:
    assert post(api, GOOD, {"Authorization": "Bearer something-else-1"}).status_code == 401
    assert api.client.post("/api/corrections", json=GOOD).status_code == 401
    assert api.corrections.kept == []


def test_a_kafka_that_is_away_is_said_and_when_to_send_again(api: Served) -> None:
    api.corrections.away = True
    answer = post(api, GOOD)
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json()["errorType"] == "unavailable"
    assert answer.json()["error"] == "kafka does not answer"
    api.check(answer, "/api/corrections", "post")
