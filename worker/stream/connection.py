"""How each Kafka client is told to reach the cluster, and where its own log goes."""

from __future__ import annotations

import logging
from typing import Any

from worker import tls
from worker.hidden import opened
from worker.settings import KafkaSettings
from worker.stream.statistics import EVERY_MS

CLIENT_ID = "moodstream"

_RECONNECT_AT_MOST_MS = 2000
"""librdkafka's own 10 s would be most of an outage that is over in seconds."""

_AHEAD = 20_000
"""Messages fetched ahead: half a second of the fastest role. librdkafka's own 100,000 are 40 MB more, and so
many posts wait in front of one that comes now."""

_QUIET_S = 30.0

# At debug level kafka-python logs the bytes it sends, SASL passwords in the clear among them.
logging.getLogger("kafka").setLevel(logging.WARNING)


def librdkafka(kafka: KafkaSettings, **more: Any) -> dict[str, Any]:
    """The configuration of a confluent-kafka client.

    `more` are librdkafka's own names and go on top: `librdkafka(kafka, **{"group.id": "readers"})`.
    `error_cb` and `logger` are the caller's: only it knows where its log goes.

    Raises:
        ConfigurationError: a certificate or key cannot be used.
    """
    if (files := tls.files_of(kafka)) is not None:
        tls.context(files)  # librdkafka would say no more than "PEM lib", and in a traceback
    return {
        **_given(
            {
                "bootstrap.servers": kafka.bootstrap_servers,
                "client.id": CLIENT_ID,
                "reconnect.backoff.max.ms": _RECONNECT_AT_MOST_MS,
                "security.protocol": kafka.security_protocol,
                "sasl.mechanism": kafka.sasl_mechanism,
                "sasl.username": kafka.sasl_username,
                "sasl.password": opened(kafka.sasl_password),
                "ssl.ca.location": _text(kafka.ssl_ca_location),
                "ssl.certificate.location": _text(kafka.ssl_certificate_location),
                "ssl.key.location": _text(kafka.ssl_key_location),
                "ssl.key.password": opened(kafka.ssl_key_password),
            }
        ),
        **more,
    }


def member(
    kafka: KafkaSettings, *, group_id: str, session_timeout_ms: int, queue_kb: int, **more: Any
) -> dict[str, Any]:
    """The configuration of a confluent-kafka consumer in a group that keeps its offsets itself.

    What it fetches ahead stays below `queue_kb`; one answer of the broker may overshoot that by a quarter.
    `auto.offset.reset` applies where no offset is stored or the stored one is not in the log.
    """
    return librdkafka(
        kafka,
        **{
            "group.id": group_id,
            "partition.assignment.strategy": "cooperative-sticky",
            "session.timeout.ms": session_timeout_ms,
            "heartbeat.interval.ms": max(300, session_timeout_ms // 5),
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "auto.offset.reset": "earliest",
            "isolation.level": "read_committed",
            "queued.max.messages.kbytes": queue_kb,
            "queued.min.messages": _AHEAD,
            "fetch.queue.backoff.ms": 10,  # a full queue is looked at again soon; by itself after a second
            "fetch.max.bytes": max(4 * 1024, queue_kb // 4) * 1024,
            "topic.metadata.refresh.interval.ms": 10_000,  # a topic created or grown is seen soon
            "statistics.interval.ms": EVERY_MS,
            **more,
        },
    )


def onlooker(kafka: KafkaSettings, group_id: str, **more: Any) -> dict[str, Any]:
    """The configuration of a confluent-kafka consumer that is told where to read and joins no group.

    It gets what was committed, and is told where a partition ends. It still needs the name of a group, and of
    that alone it commits, where its owner asks for it.
    """
    return librdkafka(
        kafka,
        **{
            "group.id": group_id,
            "enable.auto.commit": False,
            "enable.auto.offset.store": False,
            "isolation.level": "read_committed",
            "enable.partition.eof": True,
            **more,
        },
    )


def kafka_python(kafka: KafkaSettings) -> dict[str, Any]:
    """The configuration of a kafka-python client (administration, inspection, replay by time).

    Raises:
        ConfigurationError: a certificate or key cannot be used.
    """
    files = tls.files_of(kafka)
    return _given(
        {
            "bootstrap_servers": kafka.bootstrap_servers.split(","),
            "client_id": CLIENT_ID,
            "security_protocol": kafka.security_protocol.upper(),
            "sasl_mechanism": kafka.sasl_mechanism,
            "sasl_plain_username": kafka.sasl_username,
            "sasl_plain_password": opened(kafka.sasl_password),
            # Made here: of an encrypted key kafka-python would ask the terminal for the password.
            "ssl_context": None if files is None else tls.context(files),
        }
    )


def _given(configuration: dict[str, Any]) -> dict[str, Any]:
    """Only what has a value: a client's own default differs from being told `None`."""
    return {name: value for name, value in configuration.items() if value is not None}


def _text(path: object | None) -> str | None:
    return None if path is None else str(path)


class SaidBefore(logging.Filter):
    """Drops what librdkafka repeats: while a broker is away it reports every attempt of every connection.

    Lines are told apart by their facility, the first word (`FAIL`, `GETPID`, ...); each is let through once
    in `_QUIET_S`. That the cluster is away is said by the roles themselves, once, and by a metric.
    """

    def __init__(self) -> None:
        super().__init__()
        self._last: dict[str, float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        facility = record.getMessage().partition(" ")[0]
        if record.created - self._last.get(facility, 0.0) < _QUIET_S:
            return False
        self._last[facility] = record.created
        return True


def client_logger() -> logging.Logger:
    """The logger to hand to a confluent-kafka client."""
    logger = logging.getLogger("librdkafka")
    if not logger.filters:
        logger.addFilter(SaidBefore())
    return logger
