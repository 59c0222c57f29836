"""Settings become each Kafka client's own configuration, and passwords stay unseen on the way."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka.admin import KafkaAdminClient
from pydantic import SecretStr

from worker.settings import KafkaSettings
from worker.stream.connection import SaidBefore, client_logger, kafka_python, librdkafka

PASSWORD = "correct horse battery staple"
EVERYTHING = KafkaSettings(
    bootstrap_servers="one:9093,two:9093",
    security_protocol="sasl_ssl",
    sasl_mechanism="SCRAM-SHA-512",
    sasl_username="moodstream",
    sasl_password=SecretStr(PASSWORD),
    ssl_ca_location=Path("/etc/ca.pem"),
    ssl_certificate_location=Path("/etc/client.pem"),
    ssl_key_location=Path("/etc/client.key"),
    ssl_key_password=SecretStr(PASSWORD + "!"),
)


def test_plaintext_needs_no_secrets() -> None:
    assert librdkafka(KafkaSettings()) == {
        "bootstrap.servers": "127.0.0.1:9092",
        "client.id": "moodstream",
        "reconnect.backoff.max.ms": 2000,
        "security.protocol": "plaintext",
    }
    assert kafka_python(KafkaSettings()) == {
        "bootstrap_servers": ["127.0.0.1:9092"],
        "client_id": "moodstream",
        "security_protocol": "PLAINTEXT",
    }


def test_every_setting_reaches_librdkafka() -> None:
    assert librdkafka(EVERYTHING) == {
        "bootstrap.servers": "one:9093,two:9093",
        "client.id": "moodstream",
        "reconnect.backoff.max.ms": 2000,
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "moodstream",
        "sasl.password": PASSWORD,
        "ssl.ca.location": "/etc/ca.pem",
        "ssl.certificate.location": "/etc/client.pem",
        "ssl.key.location": "/etc/client.key",
        "ssl.key.password": PASSWORD + "!",
    }


def test_every_setting_reaches_kafka_python() -> None:
    assert kafka_python(EVERYTHING) == {
        "bootstrap_servers": ["one:9093", "two:9093"],
        "client_id": "moodstream",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "moodstream",
        "sasl_plain_password": PASSWORD,
        "ssl_cafile": "/etc/ca.pem",
        "ssl_certfile": "/etc/client.pem",
        "ssl_keyfile": "/etc/client.key",
        "ssl_password": PASSWORD + "!",
    }


def test_no_setting_is_forgotten() -> None:
    """A field added to `KafkaSettings` must be carried by both functions, or these numbers say so."""
    fields = len(KafkaSettings.model_fields)

    assert len(kafka_python(EVERYTHING)) == fields + len(["client_id"])
    assert len(librdkafka(EVERYTHING)) == fields + len(["client.id", "reconnect.backoff.max.ms"])


def test_the_callers_entries_win() -> None:
    made = librdkafka(KafkaSettings(), **{"group.id": "readers", "client.id": "moodstream-worker-0"})

    assert made["group.id"] == "readers"
    assert made["client.id"] == "moodstream-worker-0"


@pytest.mark.parametrize("function", [librdkafka, kafka_python])
def test_passwords_are_not_shown(function: Any) -> None:
    made = function(EVERYTHING)

    assert PASSWORD not in repr(made)
    assert PASSWORD not in f"{made}"


def test_what_goes_over_the_wire_is_not_logged_even_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    assert not logging.getLogger("kafka.protocol.parser").isEnabledFor(logging.DEBUG)


def test_both_clients_know_these_names() -> None:
    """confluent-kafka refuses an unknown name or a value that it cannot read."""
    plain = EVERYTHING.model_copy(
        update={
            "security_protocol": "sasl_plaintext",
            "ssl_ca_location": None,
            "ssl_certificate_location": None,
            "ssl_key_location": None,
        }
    )

    Producer(librdkafka(plain), logger=client_logger())
    assert set(kafka_python(EVERYTHING)) <= set(KafkaAdminClient.DEFAULT_CONFIG)


class TestClientLogger:
    def said(self, *messages: tuple[float, str]) -> list[str]:
        """Which of the (time, message) pairs are let through."""
        fresh = SaidBefore()
        records = [logging.makeLogRecord({"created": at, "msg": message}) for at, message in messages]
        return [record.getMessage() for record in records if fresh.filter(record)]

    def test_it_is_one_logger_with_one_memory(self) -> None:
        assert client_logger() is client_logger()
        assert len(client_logger().filters) == 1

    def test_repetition_is_dropped_for_half_a_minute(self) -> None:
        assert self.said(
            (1000.0, "FAIL broker 1 refused"),
            (1000.1, "FAIL broker 2 refused"),
            (1029.9, "FAIL broker 1 refused again"),
            (1030.1, "FAIL broker 1 still refused"),
        ) == ["FAIL broker 1 refused", "FAIL broker 1 still refused"]

    def test_each_facility_is_heard(self) -> None:
        both = [(1000.0, "FAIL broker 1 refused"), (1000.1, "GETPID no coordinator")]

        assert self.said(*both) == [message for _, message in both]
