"""The whole product on real servers: topics of its own, a worker and a trends role."""

from __future__ import annotations

from pathlib import Path

import msgspec

from tests.support.kafka import KafkaUnderTest, unique
from tests.support.roles import RoleProcess
from worker.local.redis import RealRedis
from worker.types import Label

PARTITIONS = 4
_LARGE = {"max.message.bytes": "4000000"}


class Pipeline:
    """Topics of its own, a worker and a trends role, on a real Kafka and a real Redis."""

    def __init__(self, kafka: KafkaUnderTest, redis: RealRedis, folder: Path, **more: str) -> None:
        self.kafka = kafka
        self.input = kafka.topic("tweets", partitions=PARTITIONS, **_LARGE)
        self.labels = kafka.topic("labels", partitions=PARTITIONS, **_LARGE)
        self.dead = kafka.topic("dead", partitions=PARTITIONS, **_LARGE)
        self.environment = {
            "MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS": kafka.bootstrap,
            "MOODSTREAM_TOPICS__INPUTS": self.input,
            "MOODSTREAM_TOPICS__LABELS": self.labels,
            "MOODSTREAM_TOPICS__DEAD_LETTERS": self.dead,
            "MOODSTREAM_WORKER__GROUP_ID": unique("worker"),
            "MOODSTREAM_WORKER__SESSION_TIMEOUT_MS": "6000",
            "MOODSTREAM_WORKER__TRANSACTION_TIMEOUT_MS": "5000",
            "MOODSTREAM_TRENDS__GROUP_ID": unique("trends"),
            "MOODSTREAM_TRENDS__SESSION_TIMEOUT_MS": "6000",
            "MOODSTREAM_REDIS__URL": redis.url,
            **more,
        }
        self.worker = RoleProcess("worker", folder / "worker.log", self.environment)
        self.trends = RoleProcess("trends", folder / "trends.log", self.environment)

    def close(self) -> None:
        self.worker.kill()
        self.trends.kill()

    def caught_up(self) -> bool:
        """Whether the worker has committed every input: there is an outcome of each, then."""
        return self.kafka.all_committed(self.environment["MOODSTREAM_WORKER__GROUP_ID"], self.input)

    def outcomes(self) -> tuple[list[Label], list[str]]:
        """Every committed label, and the input of every committed dead letter."""
        labels = [
            msgspec.json.decode(value, type=Label)
            for message in self.kafka.read_all(self.labels)
            if (value := message.value()) is not None
        ]
        dead = []
        for message in self.kafka.read_all(self.dead):
            facts = {str(name): _text(value) for name, value in list(message.headers() or [])}
            parts = (facts[f"moodstream.{name}"] for name in ("topic", "partition", "offset"))
            dead.append("/".join(parts))
        return labels, dead

    def trend_total(self) -> int:
        """Labels that the trends API counts, over all time."""
        answer = self.trends.get(
            "/api/trends", **{"from": "2024-01-01T00:00:00Z", "to": "2024-01-02T00:00:00Z"}
        )
        return int(answer.json()["data"]["n"]) if answer.is_success else -1


def _text(value: bytes | str | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""
