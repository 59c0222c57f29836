"""What a webhook is sent, to a real server that answers as real servers do."""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.receiver import Receiver, receiving
from worker.trends.alerts.describe import sentence, subject, webhook_body
from worker.trends.alerts.webhooks import Answer, Webhook
from worker.types import Alert, AlertWindow

SECRET = "0123456789abcdef0123"
NOW = 1_767_268_800.0
ALERT = Alert(
    id="emotion/anger/brand/1767268800",
    kind="emotion",
    window=AlertWindow(1_767_267_000, 1_767_268_800),
    value=412,
    baseline=133.2,
    ratio=3.093,
    n=1320,
    share_baseline=0.12,
    emotion="anger",
    query="brand",
    terms=("refund", "<!channel>"),
    samples=(17, "x"),
    models=("default@1",),
    at=datetime(2026, 1, 1, 12, 0, 5, tzinfo=UTC),
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


def test_the_signature_is_what_the_receiver_computes(receiver: Receiver) -> None:
    assert Webhook(receiver.url, SECRET, 5).send(ALERT, NOW) == Answer("delivered")

    [(path, headers, body)] = receiver.got
    assert path == "/services/T0/B0/secret-path"
    timestamp = headers["X-Moodstream-Timestamp"]
    mac = hmac.new(SECRET.encode(), f"{timestamp}.".encode() + body, hashlib.sha256).hexdigest()
    assert headers["X-Moodstream-Signature"] == f"v1={mac}"
    assert timestamp == str(int(NOW))
    assert headers["Idempotency-Key"] == ALERT.id
    assert headers["Content-Type"] == "application/json"
    assert msgspec.json.decode(msgspec.json.encode(json.loads(body)["alert"]), type=Alert) == ALERT


def test_what_the_documentation_shows_takes_it_and_nothing_else(receiver: Receiver) -> None:
    text = (Path(__file__).parents[2] / "docs" / "alerts.md").read_text(encoding="utf-8")
    block = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert block is not None
    shown: dict[str, Any] = {"hmac": hmac, "hashlib": hashlib}
    exec(block[1], shown)
    Webhook(receiver.url, SECRET, 5).send(ALERT, NOW)
    [(_, headers, body)] = receiver.got

    assert shown["is_ours"](SECRET.encode(), headers, body, NOW + 10)
    assert not shown["is_ours"](SECRET.encode(), headers, body + b" ", NOW + 10)
    assert not shown["is_ours"](b"another secret, as long", headers, body, NOW + 10)
    assert not shown["is_ours"](SECRET.encode(), headers, body, NOW + 1000)


def test_without_a_secret_there_is_no_signature(receiver: Receiver) -> None:
    Webhook(receiver.url, None, 5).send(ALERT, NOW)

    assert "X-Moodstream-Signature" not in receiver.got[0][1]


@pytest.mark.parametrize(
    ("status", "headers", "answer"),
    [
        (204, {}, Answer("delivered")),
        (400, {}, Answer("refused", "status 400")),
        (404, {}, Answer("failed", "status 404")),
        (429, {"Retry-After": "7"}, Answer("failed", "status 429", 7.0)),
        (429, {"Retry-After": "Thu, 01 Jan 2026 12:00:00 GMT"}, Answer("failed", "status 429")),
        (503, {"Retry-After": "999999999"}, Answer("failed", "status 503", 3600.0)),
        (500, {}, Answer("failed", "status 500")),
    ],
)
def test_what_its_answer_means(
    receiver: Receiver, status: int, headers: dict[str, str], answer: Answer
) -> None:
    receiver.statuses = [(status, headers)]

    assert Webhook(receiver.url, SECRET, 5).send(ALERT, NOW) == answer
    assert len(receiver.got) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(receiver: Receiver, status: int) -> None:
    with receiving() as elsewhere:
        receiver.statuses = [(status, {"Location": elsewhere.url})]
        answer = Webhook(receiver.url, SECRET, 5).send(ALERT, NOW)

        assert answer == Answer("failed", f"status {status}")
        assert elsewhere.got == []
    assert len(receiver.got) == 1


def test_a_server_that_hangs_or_is_away_has_failed(receiver: Receiver) -> None:
    receiver.hangs.set()
    hung = Webhook(receiver.url, SECRET, 0.2).send(ALERT, NOW)
    gone = Webhook("http://127.0.0.1:1/secret-path", SECRET, 0.5).send(ALERT, NOW)

    assert (hung.outcome, gone.outcome) == ("failed", "failed")
    assert "secret-path" not in hung.reason + gone.reason


class TestWords:
    def test_the_sentence_says_how_many_of_how_many(self) -> None:
        assert sentence(ALERT) == (
            "anger about brand: 412 posts from 2026-01-01 11:30 to 12:00 UTC, 3.1 times the usual 133; "
            "31.2% of 1,320 instead of 12.0%"
        )

    def test_volume_has_no_share_and_no_emotion(self) -> None:
        volume = msgspec.structs.replace(
            ALERT, kind="volume", emotion=None, query=None, share_baseline=None, n=412
        )
        assert subject(volume) == "all posts"
        assert sentence(volume).endswith("3.1 times the usual 133")
        assert subject(msgspec.structs.replace(volume, query="brand")) == "brand"

    def test_slack_shows_what_posts_say_and_does_nothing_with_it(self) -> None:
        body = json.loads(webhook_body(msgspec.structs.replace(ALERT, query="<!channel> & *co*")))

        assert "&lt;!channel&gt; &amp; *co*" in body["text"]
        assert "<" not in body["text"]
        texts = [block["text"] for block in body["blocks"] if "text" in block]
        texts += [element for block in body["blocks"] for element in block.get("elements", ())]
        assert {text["type"] for text in texts} == {"plain_text"}
        assert any("refund" in text["text"] for text in texts)

    def test_blocks_keep_to_slacks_limits(self) -> None:
        long = msgspec.structs.replace(ALERT, query="q" * 500, terms=("t" * 40,) * 100)
        blocks = json.loads(webhook_body(long))["blocks"]

        assert len(blocks[0]["text"]["text"]) <= 150
        assert all(len(element["text"]) <= 300 for element in blocks[2]["elements"])

    def test_the_wire_names_of_the_window_are_the_apis(self) -> None:
        assert json.loads(msgspec.json.encode(ALERT))["window"] == {
            "from": 1_767_267_000,
            "to": 1_767_268_800,
        }
