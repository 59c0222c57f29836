"""`POST /classify` of a real worker: beside its stream, after a promotion, and while it is paused."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import chain, cycle, islice
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from tests.support.kafka import KafkaUnderTest
from tests.support.models import bundled_as
from tests.support.pipeline import Pipeline
from tests.support.waiting import eventually
from worker.control.messages import Pause, Promotion
from worker.local.redis import RealRedis
from worker.model.artifact import load
from worker.model.bundled import bundled_model
from worker.types import OutRecord

BUNDLED = load(bundled_model()).full_name
TOKEN = "0123456789abcdef-correct"
TEXTS = ("what a lovely day, i am so happy", "i am furious and so angry", "the meeting is at nine")
POSTS = 600
AT = datetime(2026, 1, 1, tzinfo=UTC)
_CLOSE = 0.02
"""An 8-bit model answers a little differently in another batch."""


@pytest.fixture
def pipeline(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path) -> Iterator[Pipeline]:
    store = tmp_path / "store"
    bundled_as(store / "second", "second")
    made = Pipeline(
        kafka,
        redis_server,
        tmp_path,
        MOODSTREAM_TOPICS__CONTROL=kafka.topic("control"),
        MOODSTREAM_MODEL__STORE=str(store),
        MOODSTREAM_WORKER__CLASSIFY__ENABLED="on",
        MOODSTREAM_WORKER__CLASSIFY__WAIT_S="30",
        MOODSTREAM_WORKER__HTTP__TOKEN=TOKEN,
    )
    yield made
    made.close()


@pytest.fixture
def client(pipeline: Pipeline) -> Iterator[httpx.Client]:
    url, token = f"http://127.0.0.1:{pipeline.worker.port}", {"Authorization": f"Bearer {TOKEN}"}
    with httpx.Client(base_url=url, headers=token, timeout=60) as made:
        yield made


def ask(client: httpx.Client, *texts: str) -> list[dict[str, Any]]:
    """The labels of some texts."""
    answer = client.post("/classify", json={"texts": texts})
    assert answer.status_code == 200, answer.text
    labels: list[dict[str, Any]] = answer.json()["data"]["labels"]
    return labels


def set_control(pipeline: Pipeline, key: str, message: msgspec.Struct) -> None:
    """As `moodstream control` and `model promote` do."""
    topic = pipeline.environment["MOODSTREAM_TOPICS__CONTROL"]
    pipeline.kafka.produce(topic, [OutRecord("", key.encode(), msgspec.json.encode(message))])


def send(pipeline: Pipeline, texts: list[str]) -> None:
    values = [msgspec.json.encode({"id": index, "text": text}) for index, text in enumerate(texts)]
    pipeline.kafka.produce(pipeline.input, [OutRecord("", b"%d" % i, v) for i, v in enumerate(values)])


def test_texts_are_labelled_beside_the_stream_by_what_labels_the_stream(
    pipeline: Pipeline, client: httpx.Client, posts: list[str]
) -> None:
    worker = pipeline.worker
    worker.start()
    eventually(worker.ready, within_s=60)
    answers = ask(client, *TEXTS)
    assert [answer["model"] for answer in answers] == [BUNDLED] * len(TEXTS)

    send(pipeline, list(islice(chain(TEXTS, cycle(posts)), POSTS)))
    asked = 0
    while worker.metric("moodstream_labels_total") < POSTS:
        assert len(ask(client, posts[-1], posts[-2])) == 2
        asked += 1
    labels, dead = pipeline.outcomes()
    assert dead == []
    assert Counter(label.id for label in labels) == Counter(range(POSTS))
    by_id = {label.id: label for label in labels}
    for index, answer in enumerate(answers):
        assert answer["label"] == by_id[index].label
        assert answer["score"] == pytest.approx(by_id[index].score, abs=_CLOSE)
        assert answer["neutral"] == pytest.approx(by_id[index].neutral, abs=_CLOSE)

    set_control(pipeline, "model", Promotion(model="default@second", at=AT))
    eventually(lambda: ask(client, TEXTS[0])[0]["model"] == "default@second", within_s=60)
    set_control(pipeline, "pause", Pause(paused=True, at=AT))
    eventually(lambda: worker.metric("moodstream_worker_paused") == 1, within_s=60)
    assert [answer["model"] for answer in ask(client, *TEXTS)] == ["default@second"] * len(TEXTS)

    assert asked > 0
    assert worker.metric("moodstream_classify_requests_total", outcome="answered") >= asked + 3
    assert worker.stop() == 0
    assert not any(text in worker.log for text in (*TEXTS, posts[-1], posts[-2]))
