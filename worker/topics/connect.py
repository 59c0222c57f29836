"""A kafka-python admin client, waited for with patience and let go without a trace.

kafka-python 3.0 tries in silence until its time is up and tells the cause only to its log, or, where the
broker closes at once, not even there; a client that could not connect leaves its thread and sockets behind.
So librdkafka asks first whether the cluster takes us, and what the other leaves is cleared away.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, TypeVar

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import AdminClient
from kafka import errors
from kafka.admin import KafkaAdminClient
from kafka.net.compat import KafkaNetClient

from worker.clock import Clock, SystemClock, backoff
from worker.errors import DependencyError
from worker.settings import KafkaSettings
from worker.stream.connection import kafka_python, librdkafka
from worker.stream.refusal import lacks, refusal, refused

WAIT_S = 30.0
"""How long to wait for a broker that does not answer yet."""

_ATTEMPT_S = 3.0
_LOOK_S = 0.25

_log = logging.getLogger(__name__)
_silent = logging.Logger("librdkafka")
_silent.addHandler(logging.NullHandler())
_T = TypeVar("_T")


class NoAnswerError(Exception):
    """No broker answered; one may yet."""


@contextmanager
def connected(
    kafka: KafkaSettings, *, wait_s: float = WAIT_S, clock: Clock | None = None
) -> Iterator[KafkaAdminClient]:
    """An admin client; waits for a broker that does not answer yet. Its errors become `DependencyError`.

    Raises:
        DependencyError: no broker answered within `wait_s`, or it refused.
    """
    where = f"Kafka at {kafka.bootstrap_servers}"
    try:
        admin = patiently(
            lambda within_s: _connect(kafka, within_s),
            wait_s=wait_s,
            clock=clock or SystemClock(),
            where=where,
        )
        try:
            yield admin
        finally:
            admin.close()
    except errors.AuthorizationError as error:
        raise DependencyError(where, f"{error}: {lacks(kafka)}") from error
    except errors.KafkaError as error:
        raise DependencyError(where, str(error)) from error


def patiently(connect: Callable[[float], _T], *, wait_s: float, clock: Clock, where: str) -> _T:
    """Try until somebody answers, with growing pauses, for `wait_s` at most; a refusal ends it at once.

    `connect` takes the seconds that one attempt may last, and raises `NoAnswerError` where none came.
    """
    deadline = clock.monotonic() + wait_s
    pauses = backoff()
    waiting = False
    while True:
        try:
            return connect(max(0.1, min(_ATTEMPT_S, deadline - clock.monotonic())))
        except NoAnswerError as error:
            left_s = deadline - clock.monotonic()
            if left_s <= 0:
                raise DependencyError(where, f"no answer within {wait_s:g} s: {error}") from error
        if not waiting:
            _log.warning("%s does not answer yet; trying for %g s", where, wait_s)
            waiting = True
        clock.sleep(min(next(pauses), left_s))


def _connect(kafka: KafkaSettings, within_s: float) -> KafkaAdminClient:
    """One attempt.

    Raises:
        NoAnswerError: no broker answered.
        DependencyError: the cluster does not want us.
    """
    _knock(kafka.bootstrap_servers, within_s)
    _ask(kafka, within_s)
    with ExitStack() as after_failure, _witness() as seen:

        def network(**config: Any) -> KafkaNetClient:
            client = KafkaNetClient(**config)
            after_failure.callback(client._net.stop)
            after_failure.callback(client.close)
            return client

        try:
            admin = KafkaAdminClient(
                **kafka_python(kafka), bootstrap_timeout_ms=int(within_s * 1000), kafka_client=network
            )
        except errors.KafkaTimeoutError as error:
            causes = [cause for cause in seen if not isinstance(cause, errors.KafkaTimeoutError)]
            raise NoAnswerError(str(causes[-1] if causes else error)) from error
        after_failure.pop_all()
        return admin


def _knock(bootstrap_servers: str, within_s: float) -> None:
    """Whether anybody listens at all."""
    problems = []
    for server in bootstrap_servers.split(","):
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=within_s).close()
        except OSError as error:
            problems.append(f"{server}: {error.strerror or error}")
        else:
            return
    raise NoAnswerError("; ".join(problems))


def _ask(kafka: KafkaSettings, within_s: float) -> None:
    """Whether what listens there is a Kafka that takes us.

    Raises:
        NoAnswerError: it did not say.
        DependencyError: it does not.
    """
    said: list[KafkaError] = []
    client = AdminClient(librdkafka(kafka, error_cb=said.append), logger=_silent)
    for _ in range(max(1, int(within_s / _LOOK_S))):
        try:
            client.list_topics(timeout=_LOOK_S)
        except KafkaException as error:
            client.poll(0)
            said.append(error.args[0])
        else:
            return
        against_us = next(filter(refused, said), None)
        if against_us is not None:
            raise refusal(against_us, kafka)
    raise NoAnswerError(
        f"{kafka.bootstrap_servers} listens and does not answer: is kafka.security_protocol, now "
        f"{kafka.security_protocol}, that of this port?"
    )


class _Witness(logging.Handler):
    """Keeps the exceptions among what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[Exception] = []

    def emit(self, record: logging.LogRecord) -> None:
        if isinstance(record.args, tuple):
            self.seen.extend(part for part in record.args if isinstance(part, Exception))


@contextmanager
def _witness() -> Iterator[list[Exception]]:
    """Hear what kafka-python only logs while it tries (a wrong password, an untrusted certificate)."""
    logger, witness = logging.getLogger("kafka"), _Witness()
    before = logger.propagate
    logger.addHandler(witness)
    logger.propagate = False
    try:
        yield witness.seen
    finally:
        logger.removeHandler(witness)
        logger.propagate = before
