"""`POST /classify`: what is asked, what is answered, and each way in which it is not."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import generate_latest
from pydantic import SecretStr, ValidationError

from tests.support.api import check
from tests.support.models import WordModel
from tests.unit.test_loop import Rig
from worker.clock import ManualClock, SystemClock
from worker.errors import BadRecordError
from worker.metrics import Metrics
from worker.settings import ClassifySettings, WorkerHttpSettings, WorkerSettings
from worker.stream.classify import MOST_CHARACTERS, BadTextsError, open_queue, texts_of
from worker.stream.decode import decode
from worker.stream.model_stage import ModelStage
from worker.stream.request_queue import RequestQueue
from worker.types import Record
from worker.web.health import Health
from worker.web.limits import MOST_BODY_BYTES
from worker.web.server import serve

TOKEN = "0123456789abcdef-correct"
MOST = 4
WITHIN_S = 30.0


class Served:
    """A worker's HTTP and its model; the loop and Kafka are left out."""

    def __init__(self, client: httpx.Client, queue: RequestQueue, metrics: Metrics) -> None:
        self.client = client
        self.queue = queue
        self.metrics = metrics
        self.model = WordModel()
        self.stage = ModelStage(self.model, SystemClock().monotonic)

    def start(self) -> None:
        """As the loop does once it runs."""
        self.stage.serve(self.queue)

    def ask(self, *texts: object, **headers: str) -> httpx.Response:
        answer = self.client.post("/classify", json={"texts": texts}, headers=headers)
        self.check(answer)
        return answer

    def send(self, body: bytes, content_type: str = "application/json") -> httpx.Response:
        answer = self.client.post("/classify", content=body, headers={"Content-Type": content_type})
        self.check(answer)
        return answer

    def check(self, answer: httpx.Response) -> None:
        """That it is what /openapi.json says."""
        document = self.client.get("/openapi.json").json()
        described = document["paths"]["/classify"]["post"]["responses"][str(answer.status_code)]
        check(document, described["content"]["application/json"]["schema"], answer.json())

    def outcomes(self) -> dict[str, float]:
        """Requests by what became of them."""
        exposed = generate_latest(self.metrics.registry).decode().splitlines()
        named = [line for line in exposed if line.startswith("moodstream_classify_requests_total{")]
        return {line.split('"')[1]: float(line.rpartition(" ")[2]) for line in named}


@contextmanager
def served(token: str | None = None, wait_s: float = WITHIN_S) -> Iterator[Served]:
    http = WorkerHttpSettings(port=0, token=None if token is None else SecretStr(token), requests_per_s=0)
    classify = ClassifySettings(enabled="on", max_texts=MOST, queue_texts=MOST, wait_s=wait_s)
    metrics, clock = Metrics(), SystemClock()
    queue, routers = open_queue(WorkerSettings(http=http, classify=classify), metrics, clock)
    assert queue is not None
    with (
        serve(http, metrics, Health(clock, 60.0, ()), on_death=lambda: None, routers=routers) as server,
        httpx.Client(base_url=server.url, timeout=WITHIN_S) as client,
    ):
        made = Served(client, queue, metrics)
        yield made
        made.model.go_on.set()
        made.stage.close()


@pytest.fixture(scope="module")
def running() -> Iterator[Served]:
    with served() as made:
        made.start()
        yield made


def problem(answer: httpx.Response) -> tuple[int, str, str, int | None]:
    said = answer.json()
    return answer.status_code, said["errorType"], said["error"], said.get("index")


def test_it_is_off_unless_it_is_asked_for() -> None:
    assert open_queue(WorkerSettings(), Metrics(), ManualClock()) == (None, ())


def test_the_queue_is_not_smaller_than_a_request() -> None:
    with pytest.raises(ValidationError, match="queue_texts cannot be below max_texts"):
        ClassifySettings(max_texts=10, queue_texts=9)


def test_answers_are_what_the_stream_says_of_the_same_texts(running: Served) -> None:
    texts = ["joy to all", "anger", "fear of it", "joy to all"]
    rig = Rig()
    for text in texts:
        rig.post(text)
    rig.run()

    answer = running.ask(*texts)

    assert answer.status_code == 200
    assert answer.headers["x-content-type-options"] == "nosniff"
    fields = ("label", "score", "scores", "neutral", "model")
    expected = [{name: getattr(label, name) for name in fields} for label in rig.labels()]
    assert answer.json() == {"status": "success", "data": {"labels": msgspec.to_builtins(expected)}}


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        ((), (422, "wrong_type", "texts must hold at least one text", None)),
        (("joy", 7), (422, "wrong_type", "texts[1]: must be a string", 1)),
        (("joy", None), (422, "wrong_type", "texts[1]: must be a string", 1)),
        (("", "joy"), (422, "empty_text", "texts[0]: the text is empty or white space", 0)),
        (("joy", "joy", " \n"), (422, "empty_text", "texts[2]: the text is empty or white space", 2)),
        (("joy",) * 5, (413, "too_large", "5 texts: a request has at most 4", None)),
        (
            ("joy", "j" * (MOST_CHARACTERS + 1)),
            (413, "too_large", "texts[1]: has 16385 characters: a text has at most 16384", 1),
        ),
    ],
    ids=["none", "number", "null", "empty", "white space", "too many", "too long"],
)
def test_a_request_that_cannot_be_answered_is_told_why(
    running: Served, texts: tuple[object, ...], expected: tuple[int, str, str, int | None]
) -> None:
    calls = len(running.model.calls)
    assert problem(running.ask(*texts)) == expected
    assert len(running.model.calls) == calls


@pytest.mark.parametrize(
    ("body", "status", "kind"),
    [
        (b"", 400, "invalid_json"),
        (b'{"texts":', 400, "invalid_json"),
        (b'{"texts":["\xff"]}', 400, "invalid_utf8"),
        (b'{"texts":["\\ud800"]}', 400, "invalid_json"),
        (b'{"texts":' + b"[" * 20_000, 400, "invalid_json"),
        (b"[]", 422, "wrong_type"),
        (b'{"texts":"joy"}', 422, "wrong_type"),
        (b'{"text":["joy"]}', 422, "wrong_type"),
        (b" " * (MOST_BODY_BYTES + 1), 413, "too_large"),
    ],
)
def test_a_body_that_holds_no_texts_is_refused(running: Served, body: bytes, status: int, kind: str) -> None:
    assert problem(running.send(body))[:2] == (status, kind)


def test_the_longest_text_and_the_most_texts_are_answered(running: Served) -> None:
    answer = running.ask("joy" * (MOST_CHARACTERS // 3), *("fear",) * (MOST - 1))
    assert [each["label"] for each in answer.json()["data"]["labels"]] == ["joy", "fear", "fear", "fear"]


def test_a_web_page_cannot_ask_through_its_visitor(running: Served) -> None:
    for content_type in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert problem(running.send(b'{"texts":["joy"]}', content_type))[0] == 415
    assert running.send(b'{"texts":["joy"]}', "Application/JSON; charset=utf-8").status_code == 200
    assert running.client.options("/classify").status_code == 405


def test_a_text_that_breaks_the_model_is_answered_and_nothing_else_is_harmed(running: Served) -> None:
    said = problem(running.ask("joy", "broken"))
    assert said == (500, "model_error", "the model fails (RuntimeError) on one of the texts", None)
    assert running.ask("joy").status_code == 200


def test_a_token_is_wanted_where_the_worker_has_one() -> None:
    with served(TOKEN) as guarded:
        guarded.start()
        refused = guarded.ask("joy")
        assert refused.status_code == 401
        assert "worker.http.token" in refused.json()["error"]
        assert guarded.ask("joy", Authorization="Bearer wrong-wrong-wrong").status_code == 401
        assert guarded.ask("joy", Authorization=f"Bearer {TOKEN}").status_code == 200
        assert guarded.outcomes() == {"answered": 1}


def test_before_and_after_the_model_is_there_it_says_so() -> None:
    with served() as asked:
        early = asked.ask("joy")
        asked.start()
        good = asked.ask("joy")
        asked.stage.close()
        late = asked.ask("joy")
    assert [answer.status_code for answer in (early, good, late)] == [503, 200, 503]
    assert (early.headers["Retry-After"], late.headers["Retry-After"]) == ("1", "1")
    assert "starting" in early.json()["error"]
    assert "ending" in late.json()["error"]


def test_a_model_that_hangs_is_not_waited_for() -> None:
    with served(wait_s=0.05) as asked:
        asked.start()
        asked.model.hold.set()
        overdue = asked.ask("joy")
    assert (overdue.status_code, overdue.headers["Retry-After"]) == (503, "1")
    assert overdue.json()["error"] == "the stream left no time for it within 0.05 s: ask again"
    assert asked.outcomes() == {"overdue": 1}


def test_a_full_queue_refuses_and_every_outcome_is_counted() -> None:
    with served() as asked:
        asked.start()
        asked.model.hold.set()
        held = asked.queue.ask(["fear"] * MOST)
        full = asked.ask("joy")
        asked.model.hold.clear()
        asked.model.go_on.set()
        held.result(10)  # till then their places are taken
        others = [asked.ask("joy", 1), asked.ask("joy", "fear"), asked.ask("broken")]
    assert (full.status_code, full.headers["Retry-After"]) == (503, "1")
    assert [answer.status_code for answer in others] == [422, 200, 500]
    assert asked.outcomes() == {"full": 1, "refused": 1, "answered": 1, "failed": 1}
    exposed = generate_latest(asked.metrics.registry).decode()
    assert "moodstream_classify_texts_total 2.0" in exposed
    assert "moodstream_classify_seconds_count 1.0" in exposed


_JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner, max_size=6)
)


@given(st.binary() | _JSON.map(lambda said: json.dumps({"texts": said}).encode()))
def test_any_body_gives_texts_or_says_why_not(body: bytes) -> None:
    texts: list[str] | None = None
    with suppress(BadTextsError):
        texts = texts_of(body, MOST)
    if texts is not None:
        assert 0 < len(texts) <= MOST
        assert all(isinstance(text, str) and text for text in texts)


@given(st.text() | st.text(" \t\n\u2003\u0000\u200b", max_size=4))
def test_a_text_is_refused_where_the_stream_would_refuse_it(text: str) -> None:
    def kind(refuse: type[BadRecordError | BadTextsError], value: object) -> str | None:
        body = json.dumps(value).encode()
        try:
            if refuse is BadTextsError:
                texts_of(body, 1)
            else:
                decode(Record("tweets", 0, 0, None, body, 0))
        except (BadTextsError, BadRecordError) as error:
            return error.kind
        return None

    assert kind(BadTextsError, {"texts": [text]}) == kind(BadRecordError, {"id": 1, "text": text})
