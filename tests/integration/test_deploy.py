"""What is deployed runs: Kafka with the compose file's settings, every query against a real Prometheus."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from prometheus_client import start_http_server

from tests.support.kafka import create_topic, produce, read_all
from tests.support.waiting import eventually
from worker import metrics as m
from worker.local import kafka as local_kafka
from worker.local.kafka import RealKafka
from worker.local.processes import HOST, free_port
from worker.local.prometheus import RealPrometheus, scraping
from worker.metrics import Metrics

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


def working(metrics: Metrics) -> None:
    """Let every metric of the worker that the dashboard shows have something to show."""
    metrics.gauge(m.BUILD_INFO).labels("0.1.0", "worker").set(1)
    metrics.gauge(m.DEPENDENCY_UP).labels("kafka").set(1)
    metrics.gauge(m.MODEL_INFO).labels("mini@1", "openvino").set(1)
    metrics.gauge(m.CONSUMER_LAG).labels("tweets", "0").set(12)
    metrics.gauge(m.CONSUMER_LAG_SECONDS).labels("tweets", "0").set(3)
    metrics.counter(m.PUBLISHED).labels("tweets", "label").inc(90)
    metrics.counter(m.PUBLISHED).labels("tweets", "dead_letter").inc(10)
    metrics.counter(m.DEAD_LETTERS).labels("invalid_json").inc(10)
    metrics.counter(m.LABELS).labels("joy", "mini@1").inc(60)
    metrics.counter(m.LABELS).labels("anger", "mini@1").inc(30)
    metrics.bulk_histogram(m.LATENCY).observe_all(np.full(90, 0.07))


def test_every_query_of_the_dashboards_and_alerts_has_an_answer(
    prometheus: Callable[[Mapping[str, Any]], RealPrometheus],
) -> None:
    metrics, port = Metrics(), free_port()
    working(metrics)
    server, thread = start_http_server(port, addr=HOST, registry=metrics.registry)
    try:
        config = scraping({"worker": f"{HOST}:{port}"}) | {
            "rule_files": [str(DEPLOY / "prometheus" / "rules.yml")]
        }
        found = prometheus(config)
        eventually(lambda: found.query("moodstream_labels_total"), within_s=30)
        working(metrics)  # rates need a change
        eventually(lambda: found.query("rate(moodstream_labels_total[1m]) > 0"), within_s=30)

        for title, expression in queries():
            assert found.query(expression), f"{title}: {expression}"
        [mix] = found.query("sum(" + dict(queries())["Label mix"] + ")")
        assert float(mix["value"][1]) == pytest.approx(1)
        assert found.query('up{job=~"worker|trends"}')
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def queries() -> list[tuple[str, str]]:
    """(panel, expression) of every dashboard, with Grafana's variable filled in."""
    return [
        (panel["title"], target["expr"].replace("$__rate_interval", "1m"))
        for dashboard in sorted((DEPLOY / "grafana" / "dashboards").glob("*.json"))
        for panel in json.loads(dashboard.read_text())["panels"]
        for target in panel["targets"]
    ]
