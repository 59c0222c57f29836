"""Settings become each Kafka client's own configuration, and passwords stay unseen on the way."""

from __future__ import annotations

import logging
import ssl
from typing import Any

import pytest
from confluent_kafka import Producer
from kafka.admin import KafkaAdminClient
from pydantic import SecretStr

from tests.support.certificates import Authority
from worker.errors import ConfigurationError
from worker.settings import KafkaSettings
from worker.stream.connection import SaidBefore, client_logger, kafka_python, librdkafka

PASSWORD = "correct horse battery staple"


@pytest.fixture(scope="module")
def everything(tmp_path_factory: pytest.TempPathFactory) -> KafkaSettings:
    """Every setting is given; the files are real."""
    authority = Authority(tmp_path_factory.mktemp("files"))
    ours = authority.issue("client", key_password=PASSWORD + "!")
    return KafkaSettings(
        bootstrap_servers="one:9093,two:9093",
        security_protocol="sasl_ssl",
        sasl_mechanism="SCRAM-SHA-512",
        sasl_username="moodstream",
        sasl_password=SecretStr(PASSWORD),
        ssl_ca_location=authority.certificate,
        ssl_certificate_location=ours.certificate,
        ssl_key_location=ours.key,
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


def test_every_setting_reaches_librdkafka(everything: KafkaSettings) -> None:
    assert librdkafka(everything) == {
        "bootstrap.servers": "one:9093,two:9093",
        "client.id": "moodstream",
        "reconnect.backoff.max.ms": 2000,
        "security.protocol": "sasl_ssl",
        "sasl.mechanism": "SCRAM-SHA-512",
        "sasl.username": "moodstream",
        "sasl.password": PASSWORD,
        "ssl.ca.location": str(everything.ssl_ca_location),
        "ssl.certificate.location": str(everything.ssl_certificate_location),
        "ssl.key.location": str(everything.ssl_key_location),
        "ssl.key.password": PASSWORD + "!",
    }


def test_every_setting_reaches_kafka_python(everything: KafkaSettings) -> None:
    made = kafka_python(everything)
    context = made.pop("ssl_context")
    assert made == {
        "bootstrap_servers": ["one:9093", "two:9093"],
        "client_id": "moodstream",
        "security_protocol": "SASL_SSL",
        "sasl_mechanism": "SCRAM-SHA-512",
        "sasl_plain_username": "moodstream",
        "sasl_plain_password": PASSWORD,
    }
    assert isinstance(context, ssl.SSLContext)
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert len(context.get_ca_certs()) == 1


def test_no_setting_is_forgotten(everything: KafkaSettings) -> None:
    """A field added to `KafkaSettings` must be carried by both functions, or these numbers say so."""
    fields = len(KafkaSettings.model_fields)
    in_the_context = 4

    assert len(kafka_python(everything)) == fields - in_the_context + len(["client_id", "ssl_context"])
    assert len(librdkafka(everything)) == fields + len(["client.id", "reconnect.backoff.max.ms"])


def test_files_that_cannot_be_used_stop_both(everything: KafkaSettings) -> None:
    wrong = everything.model_copy(update={"ssl_key_password": None})
    for function in (kafka_python, librdkafka):
        with pytest.raises(ConfigurationError, match="is encrypted: set its password"):
            function(wrong)


def test_the_callers_entries_win() -> None:
    made = librdkafka(KafkaSettings(), **{"group.id": "readers", "client.id": "moodstream-worker-0"})

    assert made["group.id"] == "readers"
    assert made["client.id"] == "moodstream-worker-0"


@pytest.mark.parametrize("function", [librdkafka, kafka_python])
def test_passwords_are_not_shown(everything: KafkaSettings, function: Any) -> None:
    made = function(everything)

    assert PASSWORD not in repr(made)
    assert PASSWORD not in f"{made}"


def test_what_goes_over_the_wire_is_not_logged_even_at_debug_level(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)

    assert not logging.getLogger("kafka.protocol.parser").isEnabledFor(logging.DEBUG)


def test_both_clients_know_these_names(everything: KafkaSettings) -> None:
    """confluent-kafka refuses an unknown name or a value that it cannot read."""
    Producer(librdkafka(everything), logger=client_logger())
    assert set(kafka_python(everything)) <= set(KafkaAdminClient.DEFAULT_CONFIG)


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
