"""GET /api/terms, /api/samples, /api/names: what posts are about, some of them, what can be asked for."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import NOW, Served, served
from tests.support.labels import NOON, label
from worker.trends.queries import Query


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    with served() as everything:
        everything.queries.put(Query(name="goals", expression="goal"))
        everything.count(
            *(
                label(
                    "joy",
                    "web",
                    NOON + number,
                    id=number,
                    input=f"tweets/0/{number}",
                    text=f"goal number {number} #derby 🎉",
                    lang="en",
                )
                for number in range(6)
            ),
            *(
                label(
                    "anger",
                    "ios",
                    NOON + 60 * number,
                    id=f"a{number}",
                    input=f"tweets/1/{number}",
                    text="late train, no train",
                )
                for number in range(6)
            ),
        )
        everything.clock.now = NOW
        yield everything


def test_terms_stand_out_with_their_lift_and_n(api: Served) -> None:
    data = api.data("/api/terms", emotion="joy")
    assert (data["from"], data["to"], data["n"]) == (NOON, NOON + 3600, 6)
    assert (data["emotion"], data["kind"]) == ("joy", "term")
    found = {one["term"]: one for one in data["terms"]}
    assert found["goal"]["n"] == 6
    assert found["goal"]["lift"] > 1
    assert "train" not in found


@pytest.mark.parametrize(("kind", "term"), [("hashtag", "#derby"), ("emoji", "🎉")])
def test_hashtags_and_emoji_are_asked_for_apart(api: Served, kind: str, term: str) -> None:
    data = api.data("/api/terms", emotion="joy", kind=kind)
    assert [one["term"] for one in data["terms"]] == [term]


def test_fewer_terms_where_fewer_are_wanted(api: Served) -> None:
    assert len(api.data("/api/terms", emotion="anger", limit=1)["terms"]) == 1


def test_samples_are_the_posts_newest_first(api: Served) -> None:
    data = api.data("/api/samples", limit=3)
    assert data["n"] == 3
    assert [sample["id"] for sample in data["samples"]] == ["a5", "a4", "a3"]
    assert data["samples"][0]["label_ref"] == "emotion-labels/0/11"
    assert data["samples"][0]["text"] == "late train, no train"


def test_samples_of_one_emotion_one_query_one_minute(api: Served) -> None:
    joy = api.data("/api/samples", emotion="joy", query="goals")["samples"]
    assert joy
    assert {sample["label"] for sample in joy} == {"joy"}
    minute = api.data("/api/samples", **{"from": str(NOON + 120), "to": str(NOON + 180)})
    assert [sample["id"] for sample in minute["samples"]] == ["a2"]


def test_names_are_what_can_be_asked_for(api: Served) -> None:
    assert api.data("/api/names") == {"sources": ["ios", "web"], "langs": ["en"]}


def test_before_the_data_there_is_nothing(api: Served) -> None:
    long_ago = {"from": "1000000", "to": "1003600"}
    assert api.data("/api/terms", emotion="joy", **long_ago)["terms"] == []
    assert api.data("/api/samples", **long_ago)["samples"] == []


@pytest.mark.parametrize(
    ("path", "parameters", "says"),
    [
        ("/api/terms", {}, "emotion: Field required"),
        ("/api/terms", {"emotion": "boredom"}, "emotion: Input should be 'sadness'"),
        ("/api/terms", {"emotion": "joy", "kind": "verb"}, "kind: Input should be 'term'"),
        ("/api/terms", {"emotion": "joy", "limit": "0"}, "limit: Input should be greater"),
        ("/api/terms", {"emotion": "joy", "from": "now", "to": "-1h"}, "from must be before to"),
        ("/api/terms", {"emotion": "joy", "from": "-93d"}, "longer than 92 days"),
        ("/api/samples", {"from": "-93d"}, "longer than 92 days"),
        ("/api/samples", {"limit": "501"}, "limit: Input should be less"),
        ("/api/samples", {"source": "web", "query": "goals"}, "cannot be combined"),
        ("/api/samples", {"text": "x"}, "text: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    api: Served, path: str, parameters: dict[str, str], says: str
) -> None:
    answer = api.get(path, **parameters)
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    assert says in answer.json()["error"]
    api.check(answer, path)


def test_a_query_that_is_not_tracked_is_said(api: Served) -> None:
    assert api.get("/api/samples", query="nothing").status_code == 404


def test_no_client_keeps_a_sample(api: Served) -> None:
    """Its post may be deleted."""
    past = api.get("/api/samples", **{"from": "-5h", "to": "-2h"})
    assert past.headers["cache-control"] == "private, no-cache"
