"""A real Prometheus scrapes worker and trends and answers the queries of the README."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pytest

from tests.support.kafka import KafkaUnderTest
from tests.support.pipeline import Pipeline
from tests.support.waiting import eventually
from worker.local.prometheus import RealPrometheus, scraping
from worker.local.redis import RealRedis
from worker.types import OutRecord

README = Path(__file__).parents[2] / "README.md"


def queries() -> list[str]:
    """The PromQL of the README, without its comments."""
    block = re.search(r"```promql\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    assert block is not None
    return [line.partition("#")[0].strip() for line in block[1].splitlines()]


@pytest.fixture
def pipeline(kafka: KafkaUnderTest, redis_server: RealRedis, tmp_path: Path) -> Iterator[Pipeline]:
    made = Pipeline(kafka, redis_server, tmp_path)
    yield made
    made.close()


@pytest.mark.timeout(150)
def test_every_query_of_the_readme_is_answered(
    pipeline: Pipeline,
    prometheus: Callable[[Mapping[str, Any]], RealPrometheus],
    posts: list[str],
) -> None:
    assert len(queries()) >= 6
    pipeline.worker.start()
    pipeline.trends.start()
    eventually(pipeline.worker.ready, within_s=60)
    eventually(pipeline.trends.ready, within_s=60)
    targets = {role.role: f"127.0.0.1:{role.port}" for role in (pipeline.worker, pipeline.trends)}
    watching = prometheus(scraping(targets))

    sent = 0

    def send(n: int) -> None:
        nonlocal sent
        values = [
            msgspec.json.encode({"id": sent + i, "text": posts[(sent + i) % len(posts)]}) for i in range(n)
        ]
        pipeline.kafka.produce(
            pipeline.input, [OutRecord("", b"%d" % i, v) for i, v in enumerate([*values, b"{"])]
        )
        sent += n

    def every_query_has_an_answer() -> bool:
        send(50)
        return all(watching.query(query) for query in queries())

    eventually(every_query_has_an_answer, within_s=60, every_s=1.0)
    assert set(watching.targets().values()) == {"up"}
    published = watching.query('sum(moodstream_records_published_total{outcome="label"})')
    assert 0 < float(published[0]["value"][1]) <= sent
    assert watching.query("max(moodstream_build_info) by (role)")
    assert {row["metric"]["role"] for row in watching.query("moodstream_build_info")} == {"worker", "trends"}
