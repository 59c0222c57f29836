"""All of Faust: one agent over the corrections, one table of judgements behind it.

What is used of Faust, and how (what goes wrong otherwise is known of its releases up to 0.15.3):

- Acknowledged by hand, after the work: Faust acknowledges an event also when its processing failed or was
  cancelled, and a crash after the next commit would then lose it.
- One event at a time, never `take()`: an error in it stalls an agent for good, and with concurrency commits
  pass what is still under way.
- A changelog record is awaited before the table changes and before the event is acknowledged: Faust's own
  `table[key] = value` only logs that a record was not taken.
- At least once, never `exactly_once` (it crashes or fences itself); what is applied is idempotent.
- The table is in memory and recovered from its changelog topic at each start. That topic belongs to the plan
  of `moodstream topics create`: Faust creates none, and needs no right to.
- What it brings next is believed, that nothing lies before it is not: `worker.quality.passed_over`.
- Only committed corrections are read, for which Faust has no setting outside its transactions.
- Its web server, its signal handlers and its logging set-up stay off: the role has its own.
"""

from __future__ import annotations

import asyncio
import logging
import ssl
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import faust
import msgspec
from aiokafka import errors  # type: ignore[import-untyped]
from faust.exceptions import NotReady, ProducerSendError
from faust.transport.drivers import aiokafka as driver
from faust.types import TP

from worker.errors import DataLossAvertedError, DependencyError, MoodstreamError, UnansweredError
from worker.settings import KafkaSettings, Settings
from worker.stream.connection import SaidBefore
from worker.stream.dead_letters import HEADER_ROOM
from worker.types import ANY_PARTITION, Judgement, OutRecord, Record

PARTITION = 0
"""Corrections and judgements have this one only: one order, one owner."""

_REFUSED = (
    errors.AuthenticationFailedError,
    errors.AuthenticationMethodNotSupported,
    errors.ClusterAuthorizationFailedError,
    errors.SaslAuthenticationFailed,
    errors.TopicAuthorizationFailedError,
)
_TOO_LARGE = (errors.MessageSizeTooLargeError, errors.RecordListTooLargeError)
_SEND_S = 10.0
_COMMIT_S = 1.0
_ANSWER_S = 2.0
_ENCODE = msgspec.json.Encoder().encode
_DECODE = msgspec.json.Decoder(Judgement).decode

_TALKATIVE = (
    "aiokafka",
    "aiokafka.producer.sender",
    "aiokafka.consumer.fetcher",
    "aiokafka.consumer.group_coordinator",
)


def _quieten() -> None:
    """Faust tells of each step of a rebalance, in tables; aiokafka of each attempt to connect."""
    for name in ("faust", "mode", "aiokafka"):
        logging.getLogger(name).setLevel(logging.WARNING)
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if not logger.filters:
            logger.addFilter(SaidBefore())


_quieten()


class _CommittedOnly(driver.AIOKafkaConsumerThread):
    def _create_worker_consumer(self, transport: Any) -> Any:
        consumer = super()._create_worker_consumer(transport)
        consumer._isolation_level = "read_committed"  # read when it starts
        return consumer


class _Consumer(driver.Consumer):
    def _new_consumer_thread(self) -> _CommittedOnly:
        return _CommittedOnly(self, loop=self.loop, beacon=self.beacon)

    def _new_offset(self, tp: TP) -> int | None:
        """Where to go on after a restart: behind the last event that was acknowledged.

        One agent takes one event after another, and before each what was passed over, so all before it are
        done. Faust's own asks for a list of acknowledged offsets without a hole. But offsets that are no
        events (transaction markers, what was aborted) stand in it twice, which takes a commit each, and
        where a rebalance seeks back during a commit the list keeps a hole, behind which it never commits
        again.
        """
        acked = self._acked[tp]
        if not acked:
            return None
        newest = max(acked)
        acked.clear()
        self._acked_index[tp].clear()
        self._gap[tp].clear()
        return int(newest) + 1


class _Transport(driver.Transport):
    Consumer = _Consumer


# Their logs belong to Faust's: mode gives each class the logger of the module that it stands in.
_CommittedOnly.logger = _Consumer.logger = driver.logger


def create_app(settings: Settings, folder: Path) -> faust.App:
    """The application, not started; `folder` is where it may write (it hardly does).

    To be called where the event loop runs that will run it.
    """
    quality, topics = settings.quality, settings.topics
    app = faust.App(
        quality.group_id,
        broker=[f"kafka://{server}" for server in settings.kafka.bootstrap_servers.split(",")],
        broker_credentials=credentials(settings.kafka),
        broker_session_timeout=quality.session_timeout_ms / 1000,
        broker_heartbeat_interval=quality.session_timeout_ms / 5000,
        broker_commit_interval=_COMMIT_S,
        consumer_auto_offset_reset="earliest",
        producer_acks=-1,
        producer_request_timeout=_SEND_S,
        producer_max_request_size=topics.max_message_bytes + HEADER_ROOM,
        processing_guarantee="at_least_once",
        key_serializer="raw",
        value_serializer="raw",
        store="memory://",
        table_standby_replicas=0,
        stream_wait_empty=False,
        stream_recovery_delay=0.0,
        topic_allow_declare=False,
        topic_disable_leader=True,
        web_enabled=False,
        web_in_thread=False,
        datadir=str(folder),
    )
    app.transport = _Transport(app.conf.broker_consumer, app, loop=app.loop)
    return app


def credentials(kafka: KafkaSettings) -> Any:
    """What Faust presents to the brokers; None where they ask for nothing."""
    protocol = kafka.security_protocol
    context = _tls(kafka) if protocol.endswith("ssl") else None
    if protocol.startswith("sasl") and kafka.sasl_password is not None:
        return faust.SASLCredentials(
            username=kafka.sasl_username,
            password=kafka.sasl_password.get_secret_value(),
            mechanism=kafka.sasl_mechanism,
            ssl_context=context,
        )
    return None if context is None else faust.SSLCredentials(context)


def _tls(kafka: KafkaSettings) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=kafka.ssl_ca_location)
    if kafka.ssl_certificate_location is not None:
        password = kafka.ssl_key_password
        context.load_cert_chain(
            kafka.ssl_certificate_location,
            kafka.ssl_key_location,
            None if password is None else password.get_secret_value(),
        )
    return context


class FaustBook:
    """All judgements, in a Faust table whose changelog is the topic `topics.judgements`."""

    def __init__(self, app: faust.App, topic: str) -> None:
        self._app = app
        self._topic = topic
        changelog = app.topic(
            topic,
            key_type=bytes,
            value_type=bytes,
            key_serializer="raw",
            value_serializer="raw",
            partitions=1,
        )
        self._table: Any = app.Table(
            "judgements", key_type=bytes, value_type=bytes, partitions=1, changelog_topic=changelog
        )
        self.version = 0
        """Changes whenever a judgement does."""

    @property
    def recovered(self) -> bool:
        """Whether the table is whole: ours, and read to the changelog's end."""
        return bool(self._app.tables.actives_ready) and not self._app.in_recovery

    @property
    def progress(self) -> int:
        """A number that grows while the table is being recovered."""
        tables: Any = self._app.tables
        return sum(offset or 0 for offset in tables.recovery.active_offsets.values())

    def get(self, label_ref: str) -> Judgement | None:
        """The judgement of a label, where there is one."""
        value = self._table.data.get(label_ref.encode())
        return None if value is None else _DECODE(value)

    async def put(self, judgement: Judgement) -> None:
        """Keep a judgement: first in the changelog, for good, then here.

        Raises:
            UnansweredError: it may or may not be in the changelog: put it again.
            DependencyError: Kafka refuses us.
        """
        key, value = judgement.label_ref.encode(), _ENCODE(judgement)
        await send(self._app, OutRecord(self._topic, key, value, partition=PARTITION))
        self._table.data[key] = value
        self.version += 1

    async def forget(self, label_ref: str) -> None:
        """Keep a judgement no longer, here and in the changelog.

        Raises:
            UnansweredError, DependencyError: as `put` does.
        """
        key = label_ref.encode()
        await send(self._app, OutRecord(self._topic, key, None, partition=PARTITION))
        self._table.data.pop(key, None)
        self.version += 1

    def all(self) -> list[bytes]:
        """Every judgement, encoded: a copy that another thread may read."""
        return list(self._table.data.data.values())

    def __len__(self) -> int:
        return len(self._table.data.data)


async def send(app: faust.App, record: OutRecord) -> None:
    """Write one record to a topic and wait until all replicas in sync have it.

    Raises:
        UnansweredError: it may or may not be there: send it again.
        DependencyError: Kafka refuses us.
        DataLossAvertedError: it is larger than the topic takes.
    """
    topic, key, value, headers, partition = record
    if key is None and value is None:
        key = b""  # Kafka takes a record of nothing, but aiokafka does not
    try:
        producer = await app.maybe_start_producer()
        chosen = None if partition == ANY_PARTITION else partition
        await producer.send_and_wait(topic, key, value, chosen, None, [*headers])
    except (errors.KafkaError, ProducerSendError) as error:
        reason = error.__cause__ if isinstance(error, ProducerSendError) else error
        raise _why_not(record, reason) from error


def _why_not(record: OutRecord, reason: BaseException | None) -> MoodstreamError:
    """What it means that a record was not taken."""
    if isinstance(reason, _REFUSED):
        return DependencyError("kafka", f"{reason}: check the credentials and the ACLs")
    if isinstance(reason, _TOO_LARGE):
        return DataLossAvertedError(
            f"a record of {len(record.value or b'')} bytes is larger than {record.topic} takes: raise"
            " topics.max_message_bytes and run `moodstream topics create`"
        )
    return UnansweredError(f"a record was not taken: {reason}")


class FaustCorrections:
    """The corrections topic, one record after another, as the group's member that Faust is."""

    def __init__(
        self,
        app: faust.App,
        topic: str,
        work: Callable[[Record], Awaitable[None]],
        failed: Callable[[Exception], None],
    ) -> None:
        """Do `work` for each record; it is acknowledged once that is done.

        An error is told to `failed`, once, and nothing more is read: whoever starts next reads the record
        again.
        """
        self._app = app
        self._partition = TP(topic, PARTITION)

        async def agent(stream: Any) -> None:
            manual = stream.noack()
            async for event in manual.events():
                try:
                    await work(_record_of(event.message))
                except Exception as error:
                    failed(error)
                    await asyncio.Event().wait()  # for the end: Faust would go on with the next record
                await manual.ack(event)

        app.agent(app.topic(topic, key_type=bytes, value_type=bytes), name="corrections")(agent)

    @property
    def owned(self) -> bool:
        """Whether the group has given us the partition."""
        if not self._app.started:
            return False
        try:
            return self._partition in self._app.consumer.assignment()
        except NotReady:
            return False

    async def behind(self, end: int) -> int:
        """Records before `end` that are not dealt with; transaction markers do not count.

        Raises:
            TimeoutError: Faust's client does not answer.
        """
        position = await asyncio.wait_for(self._app.consumer.position(self._partition), _ANSWER_S)
        # Of an event that came twice, Faust lists one for as long as the agent holds it, done or not.
        doing = sum(not message.acked for message in self._app.consumer.unacked)
        return max(0, end - (position or 0)) + doing


def _record_of(message: Any) -> Record:
    return Record(
        message.topic,
        message.partition,
        message.offset,
        message.key,
        message.value,
        timestamp_ms=-1 if message.timestamp is None else round(message.timestamp * 1000),
        headers=list(message.headers or ()),
    )
