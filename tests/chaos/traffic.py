"""What is sent: posts, deletions and poison of known content, each with a number of its own."""

from __future__ import annotations

import random
import threading
import time
from typing import NamedTuple

import msgspec
from confluent_kafka import KafkaError, Message, Producer

from worker.demo.posts import samples
from worker.types import Headers

NUMBER = "chaos-number"
"""Header with the number of a record."""
TWEETS, FEEDBACK = "tweets", "feedback"
_KEYS = 400
_SOURCES = 6
_MINUTES = 180
_POISON = (
    b"\xff\xfe\xfd",
    b"{",
    b"[]",
    b"null",
    b'{"id":1}',
    b'{"id":1,"text":""}',
    b'{"text":"no id"}',
    b'{"id":1,"text":7}',
    b'{"id":1,"text":"late","created_at":"yesterday"}',
    b"",
    b"[" * 5000,
)


class Item(NamedTuple):
    """One record to be sent."""

    topic: str
    key: str
    value: bytes | None
    """Null is a deletion."""


class Content:
    """Record after record; the same for the same seed and start, but for the times of sending."""

    def __init__(self, seed: int, start: float, feedback_every: int = 4) -> None:
        """`feedback_every`: one of so many keys is of feedback, all others of tweets."""
        self._rng = random.Random(seed)
        self._start = start
        self._feedback_every = feedback_every
        self._texts = [sample.text for sample in samples()]
        self._sequence: dict[str, int] = {}

    def next(self, now: float) -> Item:
        """The next record: of a hundred, one deletion and one poison."""
        draw = self._rng.random()
        topic, key = self._where()
        if draw < 0.01:
            return Item(topic, key, self._rng.choice(_POISON))
        if draw < 0.02:
            return Item(topic, key, None)
        return Item(topic, key, self._post(key, now))

    def poison(self) -> Item:
        """A record that cannot be labelled."""
        topic, key = self._where()
        return Item(topic, key, self._rng.choice(_POISON))

    def _where(self) -> tuple[str, str]:
        number = self._rng.randrange(_KEYS)
        topic = FEEDBACK if number % self._feedback_every == 0 else TWEETS
        return topic, f"{topic}-{number}"

    def _post(self, key: str, now: float) -> bytes:
        """Its id is `key/sequence/milliseconds of sending`: order and delay can be read off the label."""
        rng = self._rng
        sequence = self._sequence[key] = self._sequence.get(key, 0) + 1
        post: dict[str, object] = {"id": f"{key}/{sequence}/{int(now * 1000)}"}
        post["text"] = f"{rng.choice(self._texts)} {rng.randrange(1000)}"
        if rng.random() < 0.8:
            post["created_at"] = int(self._start) - 60 * rng.randrange(_MINUTES) + rng.randrange(60)
        if rng.random() < 0.7:
            post["source"] = f"source-{rng.randrange(_SOURCES)}"
        return msgspec.json.encode(post)


class Traffic:
    """Sends at a steady rate from a thread of its own, idempotently and to all replicas in sync."""

    def __init__(self, bootstrap: str, content: Content, rate: float) -> None:
        self._content = content
        self.rate = rate
        """Records a second; may be changed at any time."""
        self._producer = Producer(
            {
                "bootstrap.servers": bootstrap,
                "enable.idempotence": True,
                "acks": "all",
                "linger.ms": 10,
                "delivery.timeout.ms": 600_000,
                "message.send.max.retries": 2_147_483_647,
                "queue.buffering.max.messages": 1_000_000,
                "reconnect.backoff.max.ms": 1000,
            }
        )
        self._stop = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self.sent = 0
        self.confirmed = 0
        self.refused: list[str] = []

    def start(self) -> None:
        self._thread.start()

    def burst(self, n: int) -> None:
        """Poison, as fast as it goes."""
        with self._lock:
            for _ in range(n):
                self._send(self._content.poison())

    def finish(self, within_s: float) -> None:
        """Send no more, and wait until all is confirmed."""
        self._stop.set()
        self._thread.join(10)
        left = self._producer.flush(within_s)
        if left or self.refused:
            raise AssertionError(
                f"{left} records unconfirmed, {len(self.refused)} refused: {self.refused[:3]}"
            )

    def _run(self) -> None:
        due = time.monotonic()
        while True:
            due += 1 / self.rate
            while (wait_s := due - time.monotonic()) > 0:
                self._producer.poll(0)
                if self._stop.wait(min(wait_s, 0.01)):
                    return
            if self._stop.is_set():
                return
            with self._lock:
                self._send(self._content.next(time.time()))

    def _send(self, item: Item) -> None:
        headers: Headers = [(NUMBER, str(self.sent).encode())]
        while True:
            try:
                self._producer.produce(
                    item.topic, item.value, item.key.encode(), headers=headers, on_delivery=self._delivered
                )
            except BufferError:
                self._producer.poll(0.1)
            else:
                self.sent += 1
                return

    def _delivered(self, error: KafkaError | None, _message: Message) -> None:
        if error is None:
            self.confirmed += 1
        else:
            self.refused.append(error.str())
