"""GET /api/trends: every answer, every refusal, and what /openapi.json says about them."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Any

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.api import NOW, Served, served
from tests.support.labels import NOON, label
from tests.support.waiting import eventually
from worker import metrics as m
from worker.trends.api.ask import Span, parse_step, parse_time, window_of
from worker.trends.queries import Query
from worker.types import LABELS
from worker.web.problems import BadQueryError


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    with served() as everything:
        everything.queries.put(Query(name="trains", expression="train"))
        everything.count(
            label("joy", "tweets", NOON, author_id="a", lang="en", text="the train is on time", score=0.75),
            label("joy", "feedback", NOON + 61, author_id="b", lang="en", score=0.5),
            label("anger", "tweets", NOON + 3599, author_id="a", lang="de", text="no train again"),
            label("joy", "tweets", NOON - 1, author_id="c", lang="en"),
        )
        everything.clock.now = NOW
        yield everything


def _series(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    return {series["emotion"]: series for series in answer.json()["data"]["series"]}


def test_without_parameters_it_is_the_last_hour_by_minute(api: Served) -> None:
    data = api.data("/api/trends")
    assert (data["from"], data["to"], data["step"], data["n"]) == (NOON, NOON + 3600, 60, 3)
    assert [series["emotion"] for series in data["series"]] == list(LABELS)
    joy = data["series"][LABELS.index("joy")]
    assert joy["total"] == 2
    assert joy["points"][:3] == [[NOON, 1], [NOON + 60, 1], [NOON + 120, 0]]
    assert len(joy["points"]) == 60
    assert (joy["share"], joy["mean_score"]) == (0.666667, 0.625)
    fear = data["series"][LABELS.index("fear")]
    assert (fear["share"], fear["mean_score"]) == (0, None)
    assert data["unique_authors"] == 2


def test_one_emotion_and_one_source(api: Served) -> None:
    answer = api.get("/api/trends", emotion="joy", source="tweets", step="1h")
    assert list(_series(answer)) == ["joy"]
    assert answer.json()["data"]["n"] == 1
    assert _series(answer)["joy"]["share"] == 0.5  # of all posts of the source
    nobody = api.data("/api/trends", source="nobody")
    assert (nobody["n"], nobody["series"][0]["share"]) == (0, None)


def test_one_language_or_one_tracked_query(api: Served) -> None:
    assert api.data("/api/trends", lang="de")["n"] == 1
    tracked = api.data("/api/trends", query="trains")
    assert (tracked["n"], tracked["since"]) == (2, int(NOW))


def test_more_than_one_of_them_is_refused(api: Served) -> None:
    answer = api.get("/api/trends", source="tweets", lang="en")
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    assert "source and lang cannot be combined" in answer.json()["error"]


def test_a_query_that_is_not_tracked_is_said(api: Served) -> None:
    answer = api.get("/api/trends", query="boats")
    assert (answer.status_code, answer.json()["errorType"]) == (404, "not_found")
    assert "'boats'" in answer.json()["error"]


def test_a_span_is_widened_to_whole_steps(api: Served) -> None:
    data = api.data("/api/trends", **{"from": str(NOON + 30), "to": str(NOON + 3601), "step": "1h"})
    assert (data["from"], data["to"]) == (NOON, NOON + 7200)
    assert data["n"] == 3


def test_the_window_before_is_compared_with(api: Served) -> None:
    data = api.data("/api/trends", **{"from": "-1h", "step": "5m", "compare": "previous"})
    previous = data["previous"]
    assert (previous["from"], previous["to"], previous["n"]) == (NOON - 3600, NOON, 1)
    changes = {one["emotion"]: (one["total"], one["share"], one["change"]) for one in previous["series"]}
    assert changes["joy"] == (1, 1.0, 1.0)  # one became two
    assert changes["anger"] == (0, 0.0, None)  # nothing to compare with
    assert "previous" not in api.data("/api/trends")


def test_before_the_data_there_are_zeros(api: Served) -> None:
    data = api.data("/api/trends", **{"from": "1000000", "to": "1003600", "compare": "previous"})
    assert (data["n"], data["unique_authors"], data["previous"]["n"]) == (0, 0, 0)
    assert all(n == 0 for series in data["series"] for _, n in series["points"])
    assert all(series["share"] is None for series in data["series"])


def test_csv_holds_the_same_numbers(api: Served) -> None:
    question = {"from": "-1h", "step": "30m"}
    answer = api.get("/api/trends", format="csv", **question)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(answer.text)))
    data = api.data("/api/trends", **question)
    assert [row["time"] for row in rows] == ["2026-01-01T12:00:00Z", "2026-01-01T12:30:00Z"]
    assert [list(row) for row in rows] == [["time", *LABELS, "n"]] * 2
    for series in data["series"]:
        assert [int(row[series["emotion"]]) for row in rows] == [n for _, n in series["points"]]
    assert sum(int(row["n"]) for row in rows) == data["n"] == 3
    refused = api.get("/api/trends", format="csv", compare="previous")
    assert refused.status_code == 400


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
def test_times_come_in_three_forms(api: Served, start: str, end: str) -> None:
    data = api.data("/api/trends", **{"from": start, "to": end})
    assert (data["from"], data["to"], data["n"]) == (NOON, NOON + 3600, 3)


def test_a_plus_sign_that_became_a_space_is_understood(api: Served) -> None:
    answer = api.get("/api/trends?from=2026-01-01T14:00:00+02:00")
    assert answer.json()["data"]["from"] == NOON


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
        ({"format": "xml"}, "format: Input should be 'json'"),
        ({"compare": "tomorrow"}, "compare: Input should be 'previous'"),
        ({"form": "-1h"}, "form: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    api: Served, parameters: dict[str, str], says: str
) -> None:
    answer = api.get("/api/trends", **parameters)
    body = answer.json()
    assert answer.status_code == 400, body
    assert (body["status"], body["errorType"]) == ("error", "bad_data")
    assert says in body["error"]
    api.check(answer, "/api/trends")


@pytest.mark.parametrize(
    ("parameters", "points"),
    [
        ({"from": "-11000m"}, 11_000),
        ({"from": "-35d", "step": "5m"}, 10_080),
        ({"from": "-1w", "step": "1d"}, 8),
    ],
)
def test_large_questions_are_answered_up_to_the_limit(
    api: Served, parameters: dict[str, str], points: int
) -> None:
    assert len(_series(api.get("/api/trends", **parameters))["joy"]["points"]) == points


def test_authors_are_not_counted_over_spans_that_they_are_not_kept_for(api: Served) -> None:
    assert api.data("/api/trends", **{"from": "-93d", "step": "1d"})["unique_authors"] is None


def test_a_redis_that_is_away_is_said_and_when_to_ask_again(api: Served) -> None:
    api.store.away = True
    try:
        answer = api.get("/api/trends", **{"from": "-7m"})
    finally:
        api.store.away = False
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert answer.json() == {
        "status": "error",
        "errorType": "unavailable",
        "error": "redis does not answer",
    }
    api.check(answer, "/api/trends")


def test_a_client_that_has_the_answer_is_told_so(api: Served) -> None:
    first = api.get("/api/trends")
    assert first.headers["cache-control"] == "private, no-cache"
    again = api.client.get("/api/trends", headers={"If-None-Match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    changed = api.client.get("/api/trends?from=-2h", headers={"If-None-Match": first.headers["etag"]})
    assert changed.status_code == 200
    past = api.get("/api/trends", **{"from": "-5h", "to": "-2h"})
    assert past.headers["cache-control"] == "private, max-age=60"


def test_requests_are_counted_by_route(api: Served) -> None:
    counter = api.metrics.counter(m.HTTP_REQUESTS).labels("/api/trends", "400")
    before = counter._value.get()
    for _ in range(5):
        api.get("/api/trends", step="0")
    eventually(lambda: counter._value.get() >= before + 5)  # behind the answer, which may be here before


def test_openapi_describes_the_answer_and_the_errors(api: Served) -> None:
    operation = api.get("/openapi.json").json()["paths"]["/api/trends"]["get"]
    names = {parameter["name"] for parameter in operation["parameters"]}
    assert names == {"from", "to", "step", "source", "lang", "query", "emotion", "compare", "format"}
    assert all(parameter.get("description") for parameter in operation["parameters"])
    assert set(operation["responses"]) == {"200", "400", "404", "503", "default"}
    assert set(operation["responses"]["200"]["content"]) == {"application/json", "text/csv"}


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
    window = window_of(Span.model_validate({"from": first, "to": last}), step, NOW)
    assert window.start <= start < window.start + window.step
    assert window.end - window.step < start + length <= window.end
