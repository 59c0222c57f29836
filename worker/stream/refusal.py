"""When Kafka does not want us: which errors no waiting mends, and what does."""

from __future__ import annotations

import re

from confluent_kafka import KafkaError

from worker import tls
from worker.errors import DependencyError
from worker.settings import KafkaSettings

_AUTHENTICATION = frozenset(
    {
        KafkaError._AUTHENTICATION,
        KafkaError.SASL_AUTHENTICATION_FAILED,
        KafkaError.UNSUPPORTED_SASL_MECHANISM,
        KafkaError.ILLEGAL_SASL_STATE,
    }
)
_AUTHORIZATION = frozenset(
    {
        KafkaError.TOPIC_AUTHORIZATION_FAILED,
        KafkaError.GROUP_AUTHORIZATION_FAILED,
        KafkaError.CLUSTER_AUTHORIZATION_FAILED,
        KafkaError.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
    }
)

_CERTIFICATES = (
    "check kafka.ssl_ca_location and, where the brokers want a client certificate, "
    "kafka.ssl_certificate_location and kafka.ssl_key_location"
)
_STATE = re.compile(r" \(after \d+ms in state \w+\)")


def refused(error: KafkaError) -> bool:
    """Whether an error means that the cluster does not want us, or we not it, however long we wait."""
    return error.code() in _AUTHENTICATION | _AUTHORIZATION or _certificate(error)


def refusal(error: KafkaError, kafka: KafkaSettings, what: str = "") -> DependencyError:
    """What to stop with after an error that is `refused`: what happened, to whom, and what mends it.

    `what`: whom or what it was about, where librdkafka does not say.
    """
    if _certificate(error):
        # OpenSSL's own words are better than librdkafka's, where the trouble is there when we look.
        files = tls.files_of(kafka)
        trouble = None if files is None else tls.trouble(files, kafka.bootstrap_servers)
        return DependencyError("kafka", trouble or f"{_told(error)}: {_CERTIFICATES}")
    about = f"{what}: " if what else ""
    advice = lacks(kafka) if error.code() in _AUTHORIZATION else credentials(kafka)
    return DependencyError("kafka", f"{about}{_told(error)}: {advice}")


def who(kafka: KafkaSettings) -> str:
    """Whom the brokers see, as their ACLs name it where we can know."""
    if kafka.sasl_username is not None and kafka.security_protocol.startswith("sasl"):
        return f"User:{kafka.sasl_username}"
    if kafka.ssl_certificate_location is not None and tls.files_of(kafka) is not None:
        return f"the principal of {kafka.ssl_certificate_location}"
    return "User:ANONYMOUS"


def lacks(kafka: KafkaSettings) -> str:
    """What to say to somebody whom an ACL is missing."""
    return f"{who(kafka)} lacks an ACL; `moodstream topics acls` prints all that each role needs"


def credentials(kafka: KafkaSettings) -> str:
    """What to say to somebody whose name, password or mechanism was not taken."""
    return (
        f"we came as {who(kafka)} with {kafka.sasl_mechanism}: check kafka.sasl_username, "
        "kafka.sasl_password and kafka.sasl_mechanism (MOODSTREAM_KAFKA__SASL_USERNAME, ...)"
    )


def _certificate(error: KafkaError) -> bool:
    """Librdkafka files a certificate that is not taken under `_SSL` or `_TRANSPORT`, as it comes."""
    told = error.str()
    return error.code() == KafkaError._SSL or (
        "SSL routines" in told and ("certificate" in told or "unknown ca" in told)
    )


def _told(error: KafkaError) -> str:
    """Librdkafka's words, without its remark on how long which state had lasted."""
    return _STATE.sub("", error.str()).rstrip(". ")
