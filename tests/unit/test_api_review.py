"""GET /api/review: labels to be reviewed, by slice."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.api import NOW, Served, served
from tests.support.labels import NOON, label
from worker.trends.sampling import rank_of
from worker.types import EMOTIONS

SURE = dict(zip(EMOTIONS, (0.95, *(0.01,) * 5), strict=True))
UNSURE = dict.fromkeys(EMOTIONS, 1 / 6)


@pytest.fixture(scope="module")
def api() -> Iterator[Served]:
    """Twenty sure labels and ten close calls."""
    with served() as everything:
        everything.count(
            *(
                label(
                    "sadness",
                    at=NOON + number,
                    id=number,
                    input=f"tweets/0/{number}",
                    text=f"number {number}",
                    neutral=0.0,
                    scores=SURE if number < 20 else UNSURE,
                )
                for number in range(30)
            )
        )
        everything.clock.now = NOW
        yield everything


def test_the_slices_hold_what_quality_counts_in_them(api: Served) -> None:
    close = api.data("/api/review", slice="low_margin")
    assert {one["id"] for one in close["labels"]} == set(range(20, 30))
    drawn = {one["id"] for one in api.data("/api/review", slice="random")["labels"]}
    assert 3 <= len(drawn) <= 16
    assert drawn & set(range(20))
    assert (close["n"], close["slice"], close["store_text"]) == (10, "low_margin", True)
    assert (close["random_share"], close["low_margin"]) == (0.3, 0.2)
    assert (close["from"], close["to"]) == (NOON, NOON + 3600)


def test_they_come_in_the_order_of_their_ranks_with_what_a_correction_names(api: Served) -> None:
    labels = api.data("/api/review", slice="low_margin", limit=4)["labels"]
    every = sorted(range(20, 30), key=lambda number: rank_of(f"tweets/0/{number}"))
    assert [one["id"] for one in labels] == every[:4]
    first = labels[0]
    assert first["label_ref"] == f"emotion-labels/0/{first['id']}"
    assert (first["label"], first["text"]) == ("sadness", f"number {first['id']}")


def test_a_span_without_labels_has_none(api: Served) -> None:
    assert api.data("/api/review", slice="random", **{"from": "1000000", "to": "1003600"})["labels"] == []


@pytest.mark.parametrize(
    ("parameters", "says"),
    [
        ({}, "slice: Field required"),
        ({"slice": "all"}, "slice: Input should be 'random' or 'low_margin'"),
        ({"slice": "random", "limit": "5001"}, "limit: Input should be less"),
        ({"slice": "random", "from": "-93d"}, "longer than 92 days"),
        ({"slice": "random", "emotion": "joy"}, "emotion: Extra inputs are not permitted"),
    ],
)
def test_what_cannot_be_answered_is_refused_with_the_reason(
    api: Served, parameters: dict[str, str], says: str
) -> None:
    answer = api.get("/api/review", **parameters)
    assert (answer.status_code, answer.json()["errorType"]) == (400, "bad_data")
    assert says in answer.json()["error"]
    api.check(answer, "/api/review")


def test_no_client_keeps_an_offer(api: Served) -> None:
    """Its post may be deleted."""
    past = api.get("/api/review", slice="random", **{"from": "-5h", "to": "-2h"})
    assert past.headers["cache-control"] == "private, no-cache"
