"""How Faust is set up: what it presents to the brokers, and what stays off."""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from aiokafka import errors  # type: ignore[import-untyped]
from faust.exceptions import ProducerSendError
from faust.transport.drivers.aiokafka import credentials_to_aiokafka_auth
from faust.types import TP
from intervaltree import IntervalTree  # type: ignore[import-untyped]

from worker.errors import DataLossAvertedError, DependencyError, UnansweredError
from worker.quality.faust_app import _Consumer, create_app, credentials, send
from worker.settings import KafkaSettings, QualitySettings, Settings, TopicSettings
from worker.types import OutRecord

SASL: dict[str, Any] = {
    "sasl_mechanism": "SCRAM-SHA-512",
    "sasl_username": "ann",
    "sasl_password": "not for logs",
}


def presented(**settings: Any) -> dict[str, Any]:
    """As aiokafka gets it."""
    return dict(credentials_to_aiokafka_auth(credentials(KafkaSettings(**settings))))


def test_plain_brokers_are_told_nothing() -> None:
    assert presented() == {"security_protocol": "PLAINTEXT"}


def test_tls_is_checked_against_the_brokers_name() -> None:
    found = presented(security_protocol="ssl")

    assert found["security_protocol"] == "SSL"
    assert found["ssl_context"].verify_mode == ssl.CERT_REQUIRED
    assert found["ssl_context"].check_hostname


@pytest.mark.parametrize("protocol", ["sasl_plaintext", "sasl_ssl"])
def test_a_password_arrives_whole(protocol: str) -> None:
    found = presented(security_protocol=protocol, **SASL)

    assert found["security_protocol"] == protocol.upper()
    assert found["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (found["sasl_plain_username"], found["sasl_plain_password"]) == ("ann", "not for logs")
    assert (found["ssl_context"] is not None) == (protocol == "sasl_ssl")


def test_a_password_is_not_shown() -> None:
    assert "not for logs" not in repr(credentials(KafkaSettings(security_protocol="sasl_plaintext", **SASL)))


def configuration(settings: Settings, folder: Path) -> Any:
    async def made() -> Any:
        return create_app(settings, folder).conf

    return asyncio.run(made())


def test_what_would_lose_or_surprise_is_off(tmp_path: Path) -> None:
    settings = Settings(
        kafka=KafkaSettings(bootstrap_servers="a:1,b:2"),
        quality=QualitySettings(group_id="readers", session_timeout_ms=9000),
        topics=TopicSettings(max_message_bytes=5_000_000),
    )

    conf = configuration(settings, tmp_path)

    assert conf.id == "readers"
    assert [str(url) for url in conf.broker] == ["kafka://a:1", "kafka://b:2"]
    assert conf.processing_guarantee.value == "at_least_once"
    assert (conf.web_enabled, conf.web_in_thread, conf.topic_allow_declare) == (False, False, False)
    assert (conf.topic_disable_leader, conf.stream_wait_empty, conf.table_standby_replicas) == (
        True,
        False,
        0,
    )
    assert (conf.broker_session_timeout, conf.broker_heartbeat_interval) == (9.0, 1.8)
    assert conf.broker_request_timeout >= conf.broker_session_timeout
    assert conf.producer_acks == -1
    assert conf.producer_max_request_size > 5_000_000
    assert str(conf.datadir).startswith(str(tmp_path))


@pytest.mark.parametrize(
    ("reason", "meaning"),
    [
        (errors.KafkaTimeoutError(), UnansweredError),
        (errors.NotLeaderForPartitionError(), UnansweredError),
        (ProducerSendError("x"), UnansweredError),
        (errors.TopicAuthorizationFailedError(), DependencyError),
        (errors.MessageSizeTooLargeError(), DataLossAvertedError),
    ],
)
def test_a_record_that_was_not_taken(reason: Exception, meaning: type[Exception]) -> None:
    """Asked again, given up for good, or stopped before something is lost."""

    class Producer:
        async def send_and_wait(self, *_: Any) -> None:
            if isinstance(reason, ProducerSendError):
                raise reason
            raise ProducerSendError("wrapped") from reason

    class App:
        async def maybe_start_producer(self) -> Producer:
            return Producer()

    with pytest.raises(meaning):
        asyncio.run(send(App(), OutRecord("dead", b"key", b"value")))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["faust", "mode", "aiokafka", "aiokafka.consumer.fetcher"])
def test_the_clients_logs_are_for_what_matters(name: str) -> None:
    assert logging.getLogger(name).getEffectiveLevel() == logging.WARNING


def test_a_hole_in_what_is_acknowledged_does_not_stop_commits() -> None:
    """Markers that are listed twice, and a committed offset that a rebalance took back, left holes."""
    where = TP("corrections", 0)
    consumer = SimpleNamespace(
        _committed_offset={where: 356},
        _acked=defaultdict(list),
        _acked_index=defaultdict(set),
        _gap=defaultdict(IntervalTree),
    )
    found = []
    for acked in ([467, 468, 468, 470], [], [471]):
        consumer._acked[where].extend(acked)
        consumer._acked_index[where].update(acked)
        consumer._gap[where].addi(469, 471)
        found.append(_Consumer._new_offset(consumer, where))  # type: ignore[arg-type]  # all that it uses

    assert found == [471, None, 472]
    assert consumer._acked_index[where] == set()
