"""What the Kafka edge of the trends role makes of errors; all else is tested on a real Kafka."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
from confluent_kafka import KafkaError

from worker.clock import SystemClock
from worker.dependency import Dependency
from worker.errors import DependencyError
from worker.local.processes import free_port
from worker.metrics import Metrics
from worker.settings import KafkaSettings, TrendsSettings
from worker.trends.source import KafkaLabelSource
from worker.web.health import Health


@pytest.fixture
def health() -> Health:
    return Health(SystemClock(), 60, ())


@pytest.fixture
def source(health: Health) -> Iterator[KafkaLabelSource]:
    """A source without a Kafka."""
    source = KafkaLabelSource(
        KafkaSettings(bootstrap_servers=f"127.0.0.1:{free_port()}"),
        TrendsSettings(),
        "emotion-labels",
        dependency=Dependency("kafka", SystemClock(), Metrics(), health),
        metrics=Metrics(),
    )
    yield source
    source.close(5)


def test_a_kafka_that_is_away_is_waited_for_and_said_once(
    source: KafkaLabelSource, health: Health, caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(15):
        assert source.take(10, 0.1).records == {}
    assert health.conditions() == {"kafka": False}
    assert not source.joined
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert [record.name for record in warnings] == ["worker.dependency"]


@pytest.mark.parametrize(
    "code", [KafkaError._AUTHENTICATION, KafkaError._SSL, KafkaError.GROUP_AUTHORIZATION_FAILED]
)
def test_a_kafka_that_refuses_us_ends_the_role(source: KafkaLabelSource, code: int) -> None:
    source._on_error(KafkaError(code, "no"))
    with pytest.raises(DependencyError, match=r"check kafka|lacks an ACL") as refused:
        source.take(10, 0)
    assert refused.value.exit_code == 3


def test_what_is_not_there_has_no_bounds_and_no_place(source: KafkaLabelSource) -> None:
    assert max(source.bounds(0)) < 0
    assert not source.place(0, 5)
    source.hold()
    source.commit({0: 5})
