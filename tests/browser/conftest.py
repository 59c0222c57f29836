"""One running product for all browser tests of a file: real Kafka, real Redis, the trends role, Chromium."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
from playwright.sync_api import Browser

from tests.support import browser as real_browser
from tests.support.browser import Visitor
from tests.support.kafka import KafkaUnderTest, unique
from tests.support.labels import label
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from worker.local import redis as local_redis
from worker.types import Correction, OutRecord

TOKEN = "0123456789abcdef-correct"


class Stack:
    """Everything behind the page."""

    def __init__(self, kafka: KafkaUnderTest, folder: Path, closing: ExitStack) -> None:
        self.kafka = kafka
        self.labels = kafka.topic("labels", partitions=3)
        self.corrections = kafka.topic("corrections")
        self.redis = closing.enter_context(local_redis.RealRedis(aof=True))
        self._folder, self._closing = folder, closing
        self.role = self.started("trends.log", MOODSTREAM_TRENDS__STORE_TEXT="on")
        self._number = 0

    def started(self, log: str, **more: str) -> RoleProcess:
        """A trends role with these settings besides, ready."""
        role = RoleProcess(
            "trends",
            self._folder / log,
            {
                "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": self.kafka.bootstrap,
                "MOODSTREAM_REDIS__URL": self.redis.url,
                "MOODSTREAM_REDIS__TIMEOUT_S": "1",
                "MOODSTREAM_TOPICS__LABELS": self.labels,
                "MOODSTREAM_TOPICS__CORRECTIONS": self.corrections,
                "MOODSTREAM_TRENDS__GROUP_ID": unique("trends"),
                "MOODSTREAM_TRENDS__HTTP__TOKEN": TOKEN,
                "MOODSTREAM_REVIEW__RANDOM_SHARE": "1",
                **more,
            },
        )
        self._closing.callback(role.kill)
        role.start()
        eventually(role.ready, within_s=40)
        return role

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.role.port}"

    def post(self, emotion: str, text: str | None, *, ago_s: float = 0.0, **more: Any) -> int:
        """One label, as the worker writes it; answers its number, which is also the post's id."""
        return self.post_all([(emotion, text, ago_s, more)])[0]

    def post_all(self, posts: list[tuple[str, str | None, float, dict[str, Any]]]) -> list[int]:
        numbers = range(self._number, self._number + len(posts))
        self._number += len(posts)
        values = []
        for number, (emotion, text, ago_s, more) in zip(numbers, posts, strict=True):
            fields = {"id": number, "source": "web", "lang": "en", "author_id": f"a{number % 40}", **more}
            fields["input"] = f"tweets/0/{number}"
            if text is not None:
                fields["text"] = text
            source = fields.pop("source")
            value = label(emotion, source, time.time() - ago_s, **fields)
            values.append(OutRecord(self.labels, str(number).encode(), value))
        self.kafka.produce(self.labels, values)
        return list(numbers)

    def data(self, path: str, **parameters: Any) -> Any:
        """The data of an answer of the API."""
        answer = self.role.get(path, **parameters)
        assert answer.status_code == 200, answer.text
        return answer.json()["data"]

    def counted(self) -> int:
        """Labels counted in the last day."""
        return int(self.data("/api/trends", **{"from": "-1d", "step": "1h"})["n"])

    def corrected(self) -> list[Correction]:
        values = [message.value() or b"" for message in self.kafka.read_all(self.corrections)]
        return [msgspec.json.decode(value, type=Correction) for value in values]


@pytest.fixture(scope="module")  # Playwright keeps an event loop running: no other file's tests may meet it
def browser() -> Iterator[Browser]:
    missing = real_browser.available()
    if missing is not None:
        pytest.skip(missing)
    with real_browser.chromium() as started:
        yield started


@pytest.fixture(scope="module")
def stack(kafka: KafkaUnderTest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    missing = local_redis.available()
    if missing is not None:
        pytest.skip(missing)
    with ExitStack() as closing:
        yield Stack(kafka, tmp_path_factory.mktemp("browser"), closing)


@pytest.fixture
def visitor(browser: Browser, stack: Stack) -> Iterator[Visitor]:
    """A fresh tab; at the end nothing may have gone wrong in it."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB", timezone_id="UTC")
    visitor = Visitor(context.new_page(), stack.url)
    yield visitor
    context.close()
    assert visitor.faults == []
