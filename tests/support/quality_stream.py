"""Labels and corrections on a real Kafka, with the truth known, and the quality role as a process."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from confluent_kafka import Producer

from tests.support.kafka import KafkaUnderTest, unique
from tests.support.quality import label
from tests.support.roles import RoleProcess
from tests.support.waiting import eventually
from worker.types import LABELS, Correction, Label, LabelName

_COMPACT = {"cleanup.policy": "compact"}
SPLIT = 3
"""Partitions of the labels topic."""
_encode = msgspec.json.encode


class QualityStream:
    """Topics of its own, and roles over them."""

    def __init__(self, kafka: KafkaUnderTest, folder: Path) -> None:
        self.kafka, self._folder = kafka, folder
        self.labels = kafka.topic("labels", partitions=SPLIT)
        self.corrections = kafka.topic("corrections")
        self.judgements = kafka.topic("judgements", partitions=1, **_COMPACT)
        self.dead = kafka.topic("dead", partitions=2)
        self.environment = {
            "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "MOODSTREAM_TOPICS__LABELS": self.labels,
            "MOODSTREAM_TOPICS__CORRECTIONS": self.corrections,
            "MOODSTREAM_TOPICS__JUDGEMENTS": self.judgements,
            "MOODSTREAM_TOPICS__DEAD_LETTERS": self.dead,
            "MOODSTREAM_QUALITY__GROUP_ID": unique("quality"),
            "MOODSTREAM_QUALITY__SESSION_TIMEOUT_MS": "6000",
            "MOODSTREAM_QUALITY__REFRESH_S": "0.3",
            "MOODSTREAM_REVIEW__RANDOM_SHARE": "0.4",
        }
        self._roles: list[RoleProcess] = []

    def role(self, **more: str) -> RoleProcess:
        """An instance of the role, not started."""
        name = f"quality-{len(self._roles)}.log"
        made = RoleProcess("quality", self._folder / name, {**self.environment, **more})
        self._roles.append(made)
        return made

    def close(self) -> None:
        """Kill what still runs."""
        for role in self._roles:
            role.kill()

    def label(self, n: int, rng: random.Random, model: str = "mini@1") -> list[tuple[str, Label]]:
        """Write labels as the worker does, in transactions of which some are aborted; their references."""
        written: list[tuple[str, Label]] = []
        transactional(
            self.kafka.bootstrap,
            self.labels,
            (
                _encode(
                    label(
                        rng.choice(LABELS),
                        id=number,
                        model=model,
                        input=f"tweets/0/{number}",
                        text=f"text number {number}",
                        labelled_at=datetime.now(UTC) - timedelta(minutes=5),
                    )
                )
                for number in range(n)
            ),
            rng,
            partitions=SPLIT,
        )
        for message in self.kafka.read_all(self.labels):
            value = message.value()
            assert value is not None
            ref = f"{message.topic()}/{message.partition()}/{message.offset()}"
            written.append((ref, msgspec.json.decode(value, type=Label)))
        return sorted(written, key=lambda one: int(str(one[1].id)))  # the same each time, for seeds

    def correct(self, corrections: Iterable[bytes], rng: random.Random) -> None:
        """Write corrections, in transactions of which some are aborted."""
        transactional(self.kafka.bootstrap, self.corrections, corrections, rng)

    def dead_letters(self) -> list[tuple[str, bytes | None]]:
        """The kind of each, and its original bytes."""
        found = []
        for message in self.kafka.read_all(self.dead):
            headers = dict(message.headers() or [])
            kind = headers["moodstream.error"]
            assert isinstance(kind, bytes)
            assert headers["moodstream.topic"] == self.corrections.encode()
            found.append((kind.decode(), message.value()))
        return found


def transactional(
    bootstrap: str, topic: str, values: Iterable[bytes], rng: random.Random, partitions: int = 1
) -> None:
    """Write values in transactions; about a fifth is written in one that is aborted first."""
    producer = Producer(
        {"bootstrap.servers": bootstrap, "transactional.id": unique("writer"), "linger.ms": 5}
    )
    producer.init_transactions(30)
    left = list(values)
    while left:
        some, left = left[:400], left[400:]
        if rng.random() < 0.5:
            producer.begin_transaction()
            for value in rng.sample(some, len(some) // 2):
                producer.produce(topic, value)
            producer.flush(30)  # so that what is aborted is really in the log
            producer.abort_transaction(30)
        producer.begin_transaction()
        for number, value in enumerate(some):
            producer.produce(topic, value, partition=number % partitions)
        producer.commit_transaction(30)


def verdict(
    ref: str, of: Label, said: LabelName, by: str = "ann", at: datetime | None = None, **more: Any
) -> bytes:
    """One correction; `more` are fields that it should have instead, right or wrong."""
    made = Correction(id=of.id, label=said, label_ref=ref, by=by, at=at or datetime.now(UTC))
    return _encode(msgspec.to_builtins(made) | more)


def people(
    labels: Iterable[tuple[str, Label]], error_rate: float, rng: random.Random
) -> tuple[list[bytes], Counter[tuple[LabelName, LabelName]]]:
    """What people say where the model is wrong this often, and (truth, answer) of every label by hand.

    Some change their mind, some say it twice, and of some labels three people speak, one of them wrongly:
    none of that changes what most people last said.
    """
    said, expected = [], Counter[tuple[LabelName, LabelName]]()
    now = datetime.now(UTC)
    for ref, of in labels:
        truth = of.label
        if rng.random() < error_rate:
            truth = rng.choice([other for other in LABELS if other != of.label])
        other = rng.choice(LABELS)
        expected[truth, of.label] += 1
        last = verdict(ref, of, truth, at=now)
        chance = rng.random()
        if chance < 0.1:
            said.append(verdict(ref, of, other, at=now - timedelta(minutes=1)))
        elif chance < 0.2:
            said.append(last)
        elif chance < 0.3:
            said += [verdict(ref, of, truth, by="bob", at=now), verdict(ref, of, other, by="eve", at=now)]
        said.append(last)
    return said, expected


def settled(role: RoleProcess, judgements: int, within_s: float = 60) -> dict[str, Any]:
    """The figures, once the role has no more to do and has judged so many labels; else what was missing."""
    missing = ""
    found: dict[str, Any] = {}

    def done() -> bool:
        nonlocal missing, found
        missing, found = _missing(role, judgements)
        return not missing

    try:
        eventually(done, within_s=within_s, every_s=0.3)
    except AssertionError as error:
        raise AssertionError(f"{missing} after {within_s:g} s; the role wrote:\n{role.log}") from error
    del found["computed_at"]
    return found


def _missing(role: RoleProcess, judgements: int) -> tuple[str, dict[str, Any]]:
    """What there is still to do, if anything, and the figures."""
    if not role.ready():
        return f"not ready: {role.get('/readyz').text}", {}
    lag = role.metric("moodstream_consumer_lag_records")
    if lag:
        return f"{lag:g} corrections behind", {}
    figures: dict[str, Any] = role.get("/api/quality").json()["data"]
    if figures["judgements"] != judgements:
        return f"{figures['judgements']} judgements, not {judgements}", {}
    return "", figures
