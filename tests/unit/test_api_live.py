"""GET /api/live over a real connection: events, limits, and the end."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.api import Served, served
from tests.support.waiting import eventually
from tests.unit.test_live import news, shown
from worker.trends.live.hub import PER_SECOND, News
from worker.trends.queries import Query


@pytest.fixture
def api() -> Iterator[Served]:
    with served() as everything:
        yield everything


def events(answer: httpx.Response) -> Iterator[tuple[str, dict[str, object]]]:
    """Name and data of each event."""
    name = ""
    for line in answer.iter_lines():
        field, _, value = line.partition(": ")
        if field == "event":
            name = value
        elif field == "data":
            yield name, json.loads(value)


def test_labels_arrive_and_ticks_tell_how_many_there_were(api: Served) -> None:
    with api.client.stream("GET", "/api/live") as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.headers["cache-control"] == "no-cache"
        eventually(lambda: api.hub.listeners == 1)
        api.hub.publish(News(9, (shown(1, text="<b>\r\nevent: tick\n\ndata: {}", queries=("7f",)),)))
        stream = events(answer)
        name, data = next(stream)
        assert name == "label"
        assert data == {
            "id": 1,
            "label": "joy",
            "score": 0.9,
            "source": "web",
            "created_at": "2026-01-01T00:00:00Z",
            "label_ref": "emotion-labels/0/1",
            "text": "<b>\r\nevent: tick\n\ndata: {}",
        }
        api.clock.sleep(1)
        assert next(stream) == ("tick", {"counted": 9, "shown": 1, "lost": 0})
    eventually(lambda: api.hub.listeners == 0)


def test_only_what_is_asked_for(api: Served) -> None:
    query = api.queries.put(Query(name="trains", expression="train"))
    with api.client.stream("GET", "/api/live?query=trains") as answer:
        eventually(lambda: api.hub.listeners == 1)
        api.hub.publish(News(2, (shown(1), shown(2, queries=(query.id,)))))
        assert next(events(answer))[1]["id"] == 2


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/api/live?query=boats", 404),
        ("/api/live?source=a&lang=b", 400),
        ("/api/live?who=me", 400),
    ],
)
def test_what_cannot_be_listened_to_is_refused_at_once(api: Served, path: str, status: int) -> None:
    answer = api.get(path)
    assert answer.status_code == status
    assert answer.json()["status"] == "error"
    assert api.hub.listeners == 0


def test_one_too_many_is_asked_to_come_again(api: Served) -> None:
    streams = [api.client.stream("GET", "/api/live") for _ in range(3)]
    for stream in streams:
        stream.__enter__()
    try:
        refused = api.get("/api/live")
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert refused.json()["errorType"] == "unavailable"
    finally:
        for stream in streams:
            stream.__exit__(None, None, None)
    eventually(lambda: api.hub.listeners == 0)
    with api.client.stream("GET", "/api/live") as again:
        assert again.status_code == 200


def test_closing_ends_every_stream_at_once(api: Served) -> None:
    ended: list[float] = []

    def listen() -> None:
        with api.client.stream("GET", "/api/live") as answer:
            for _ in answer.iter_raw():
                pass
        ended.append(time.monotonic())

    thread = threading.Thread(target=listen)
    thread.start()
    eventually(lambda: api.hub.listeners == 1)
    closed = time.monotonic()
    api.hub.close()
    thread.join(5)
    assert ended
    assert ended[0] - closed < 2


def test_a_client_that_does_not_read_holds_nothing_up(api: Served) -> None:
    """Its socket fills; others get theirs, and what it misses is counted when it reads again."""
    with api.client.stream("GET", "/api/live"):
        eventually(lambda: api.hub.listeners == 1)
        (listener,) = api.hub._listeners
        for number in range(400):
            api.hub.publish(News(1, tuple(shown(number, text="x" * 20_000) for _ in range(PER_SECOND))))
            api.clock.sleep(1)
            time.sleep(0.02)
            if listener._lost > 10 * PER_SECOND:  # no tick has told it: nothing goes out
                break
        assert listener._lost > 10 * PER_SECOND
        assert len(listener._waiting) == PER_SECOND
        with api.client.stream("GET", "/api/live") as quick:
            eventually(lambda: api.hub.listeners == 2)
            api.hub.publish(news(7777))
            assert next(events(quick))[1]["id"] == 7777
