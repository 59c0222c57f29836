"""Kafka runs with the settings that the compose file gives it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from tests.support.kafka import create_topic, produce, read_all
from worker.local import kafka as local_kafka
from worker.local.kafka import RealKafka
from worker.local.processes import HOST, free_port

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


@pytest.mark.slow
def test_kafka_starts_with_the_compose_files_settings() -> None:
    """The image turns KAFKA_A_B into a.b; only the addresses must be this machine's."""
    missing = local_kafka.available()
    if missing is not None:
        pytest.skip(missing)
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    environment = compose["services"]["kafka"]["environment"]
    heap = environment.pop("KAFKA_HEAP_OPTS").rpartition("-Xmx")[2]
    settings = {
        name.removeprefix("KAFKA_").lower().replace("_", "."): str(value)
        for name, value in environment.items()
    }
    server = RealKafka(heap=heap)
    ports = {"9092": server.port, "19092": free_port(), "9093": free_port()}
    for name in ("listeners", "advertised.listeners", "controller.quorum.voters"):
        settings[name] = re.sub(
            r"(\w*[\d.]*):(\d+)", lambda found: f"{HOST}:{ports[found[2]]}", settings[name]
        )
    server.properties = {**settings, "log.dirs": str(server.folder / "data")}

    with server:
        create_topic(server.bootstrap, "tweets", partitions=2)
        produce(server.bootstrap, "tweets", [b"hello"])
        assert [record.value() for record in read_all(server.bootstrap, "tweets")] == [b"hello"]
