"""Brokers, topics, permissions and groups, as the roles would meet them."""

from __future__ import annotations

import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from confluent_kafka import (
    ConsumerGroupTopicPartitions,
    KafkaException,
    Producer,
    TopicCollection,
    TopicPartition,
)
from confluent_kafka.admin import (  # type: ignore[attr-defined]  # documented, and not in its __all__
    AdminClient,
    OffsetSpec,
    TopicDescription,
)

from worker.clock import Clock
from worker.doctor.findings import Finding
from worker.errors import DependencyError
from worker.settings import KafkaSettings, Settings
from worker.stream.connection import client_logger, librdkafka
from worker.stream.refusal import lacks, refused
from worker.topics import admin as topics_admin
from worker.topics.acls import Acl, least
from worker.topics.connect import connected

_ANSWER_S = 10.0
_KNOCK_S = 3.0
_T = TypeVar("_T")


def look(settings: Settings, roles: Sequence[str], *, wait_s: float, clock: Clock) -> Iterator[Finding]:
    """Everything about Kafka; ends early where no broker takes us, because nothing more can be known."""
    silent = _silent(settings.kafka)
    yield _addresses(settings.kafka, silent)
    settings = _without(settings, silent)  # kafka-python gives up where it does not know the first name
    try:
        with connected(settings.kafka, wait_s=wait_s, clock=clock) as admin:
            brokers = len(admin.describe_cluster()["brokers"])
    except DependencyError as error:
        yield Finding("kafka.login", "fault", str(error), away=True)
        return
    yield Finding("kafka.login", "ok", f"{_many(brokers, 'broker')} answer, and take us")
    if brokers < settings.topics.replication_factor:
        yield Finding(
            "kafka.brokers",
            "fault",
            f"topics are kept {settings.topics.replication_factor} times, on {_many(brokers, 'broker')}",
            f"start more brokers, or set topics.replication_factor={brokers}",
        )
    client = AdminClient(librdkafka(settings.kafka), logger=client_logger())
    described = _described(client, settings.topics.names)
    yield from topics(settings, clock)
    yield from replicas(settings, described)
    for role in roles:
        yield from permissions(client, settings, role, described)
    yield from groups(client, settings, roles, described)


def _silent(kafka: KafkaSettings) -> dict[str, str]:
    """Those of `kafka.bootstrap_servers` where nobody listens, and why."""
    silent = {}
    for server in kafka.bootstrap_servers.split(","):
        host, _, port = server.rpartition(":")
        try:
            socket.create_connection((host.strip("[]"), int(port)), timeout=_KNOCK_S).close()
        except socket.gaierror:
            silent[server] = "its name is not known here"
        except OSError as error:
            silent[server] = error.strerror or str(error)
    return silent


def _addresses(kafka: KafkaSettings, silent: Mapping[str, str]) -> Finding:
    n = len(kafka.bootstrap_servers.split(","))
    if not silent:
        return Finding("kafka.addresses", "ok", f"{_many(n, 'address', 'addresses')}: somebody listens")
    return Finding(
        "kafka.addresses",
        "fault" if len(silent) == n else "note",
        "; ".join(f"{server}: {why}" for server, why in silent.items()),
        "start Kafka, or set kafka.bootstrap_servers (MOODSTREAM_KAFKA__BOOTSTRAP_SERVERS) to its address",
        away=len(silent) == n,
    )


def _without(settings: Settings, silent: Mapping[str, str]) -> Settings:
    left = [server for server in settings.kafka.bootstrap_servers.split(",") if server not in silent]
    kafka = settings.kafka.model_copy(update={"bootstrap_servers": ",".join(left)})
    return settings.model_copy(update={"kafka": kafka}) if left else settings


def topics(settings: Settings, clock: Clock) -> Iterator[Finding]:
    """What `moodstream topics check` finds. A topic that is missing is a fault, one that differs a note."""
    try:
        differences = topics_admin.check(settings, wait_s=_ANSWER_S, clock=clock)
    except DependencyError as error:
        yield Finding("kafka.topics", "note", f"could not be compared with the settings: {error.reason}")
        return
    for found in differences:
        missing = found.what == "topic"
        what = "is missing" if missing else f"{found.what} is {found.found}, the settings say {found.wanted}"
        yield Finding("kafka.topics", "fault" if missing else "note", f"{found.topic}: {what}", found.mend)
    if not differences:
        yield Finding("kafka.topics", "ok", f"all {len(settings.topics.names)} are as the settings say")


def replicas(
    settings: Settings, described: Mapping[str, TopicDescription | KafkaException]
) -> Iterator[Finding]:
    """Whether every partition can be read, and written with `acks=all`."""
    least_in_sync = settings.topics.min_insync_replicas
    leaderless, short, behind = [], [], 0
    for name, topic in described.items():
        for partition in [] if isinstance(topic, KafkaException) else topic.partitions:
            if partition.leader is None or partition.leader.id < 0:
                leaderless.append(f"{name}/{partition.id}")
            elif len(partition.isr) < least_in_sync:
                short.append(f"{name}/{partition.id}")
            behind += len(partition.isr) < len(partition.replicas)
    if leaderless:
        yield Finding(
            "kafka.replicas", "fault", f"no leader: {_some(leaderless)}", "start the brokers that are down"
        )
    if short:
        yield Finding(
            "kafka.replicas",
            "fault",
            f"fewer than {least_in_sync} replicas in sync, so that nothing can be written: {_some(short)}",
            "start the brokers that are down",
        )
    elif behind and not leaderless:
        yield Finding("kafka.replicas", "note", f"{behind} partitions have replicas that are not in sync")


def permissions(
    client: AdminClient,
    settings: Settings,
    role: str,
    described: Mapping[str, TopicDescription | KafkaException],
) -> Iterator[Finding]:
    """Whether we may do what a role has to; the same list as `moodstream topics acls --role ROLE`."""
    missing = [
        f"{acl.operation} on {acl.resource} {name}"
        for acl in least(role, settings)
        for name in acl.names
        if not _allowed(client, settings.kafka, acl, name, described)
    ]
    if missing:
        yield Finding(
            f"kafka.permissions.{role}",
            "fault",
            f"not allowed: {_some(missing, len(missing))}",
            lacks(settings.kafka),
            away=True,
        )
    else:
        yield Finding(f"kafka.permissions.{role}", "ok", "all that the role does is allowed")


def groups(
    client: AdminClient,
    settings: Settings,
    roles: Sequence[str],
    described: Mapping[str, TopicDescription | KafkaException],
) -> Iterator[Finding]:
    """Who is in the groups, how far they are, and whether records went before they were read."""
    reads = {
        "worker": (settings.worker.group_id, settings.topics.inputs),
        "trends": (settings.trends.group_id, (settings.topics.labels,)),
    }
    for role in roles:
        if role not in reads:
            continue
        group, names = reads[role]
        try:
            members = len(_answer(client.describe_consumer_groups([group])[group]).members)
            yield from _progress(client, role, group, members, _partitions(names, described))
        except KafkaException as error:
            yield Finding(f"kafka.group.{role}", "note", f"group {group}: {error.args[0].str()}")


def _progress(
    client: AdminClient, role: str, group: str, members: int, partitions: Sequence[TopicPartition]
) -> Iterator[Finding]:
    check = f"kafka.group.{role}"
    first = _offsets(client, partitions, OffsetSpec.earliest())  # type: ignore[no-untyped-call]
    end = _offsets(client, partitions, OffsetSpec.latest())  # type: ignore[no-untyped-call]
    request = [ConsumerGroupTopicPartitions(group, list(partitions))] if partitions else []
    answers = client.list_consumer_group_offsets(request, request_timeout=_ANSWER_S) if request else {}
    found = _answer(answers[group]).topic_partitions or [] if answers else []
    committed = {(at.topic, at.partition): at.offset for at in found if at.offset >= 0}
    lost = [
        f"{t}/{p} (committed {at}, begins at {first[t, p]})"
        for (t, p), at in committed.items()
        if at < first[t, p]
    ]
    beyond = [
        f"{t}/{p} (committed {at}, ends at {end[t, p]})" for (t, p), at in committed.items() if at > end[t, p]
    ]
    lag = sum(end[key] - committed.get(key, first[key]) for key in end)
    if lost:
        yield Finding(
            check, "fault", f"retention has removed records that {group} had not read: {_some(lost)}",
            "start more workers, or keep the topic longer (topics.retention_hours)",
        )  # fmt: skip
    if beyond:
        yield Finding(
            check, "fault", f"{group} has read further than the topic goes: {_some(beyond)}",
            "the topic was made anew or lost records: kafka-consumer-groups.sh --reset-offsets --to-earliest",
        )  # fmt: skip
    if not lost and not beyond:
        who = _many(members, "member") if members else "no member now"
        yield Finding(check, "ok", f"group {group}: {who}, {max(0, lag):,} records behind")


def _allowed(
    client: AdminClient,
    kafka: KafkaSettings,
    acl: Acl,
    name: str,
    described: Mapping[str, TopicDescription | KafkaException],
) -> bool:
    """Whether we may; true also where that cannot be asked, such as of a topic that is not there."""
    wanted = acl.operation.upper()
    if acl.resource == "transactional-id":
        return _may_publish(kafka, f"{name}doctor-{uuid.uuid4()}" if acl.pattern == "prefixed" else name)
    if acl.resource == "topic":
        found = described[name]
        if isinstance(found, KafkaException):
            return not refused(found.args[0])
        operations = found.authorized_operations
    else:
        try:
            answers = client.describe_consumer_groups(
                [name], include_authorized_operations=True, request_timeout=_ANSWER_S
            )
            operations = _answer(answers[name]).authorized_operations
        except KafkaException as error:
            return not refused(error.args[0])
    return operations is None or wanted in {operation.name for operation in operations}


def _may_publish(kafka: KafkaSettings, transactional_id: str) -> bool:
    """Whether we may begin a transaction under this name; none is begun."""
    producer = Producer(librdkafka(kafka, **{"transactional.id": transactional_id}), logger=client_logger())
    try:
        producer.init_transactions(_ANSWER_S)
    except KafkaException as error:
        return not refused(error.args[0])
    return True


def _described(client: AdminClient, names: Sequence[str]) -> dict[str, TopicDescription | KafkaException]:
    asked = client.describe_topics(
        TopicCollection(list(names)), include_authorized_operations=True, request_timeout=_ANSWER_S
    )
    return {name: _or_error(future) for name, future in asked.items()}


def _or_error(asked: Future[_T]) -> _T | KafkaException:
    try:
        return asked.result(2 * _ANSWER_S)
    except KafkaException as error:
        return error


def _answer(future: Future[Any]) -> Any:
    return future.result(2 * _ANSWER_S)


def _partitions(
    names: Sequence[str], described: Mapping[str, TopicDescription | KafkaException]
) -> list[TopicPartition]:
    found = {name: described[name] for name in names}
    return [
        TopicPartition(name, partition.id)
        for name, topic in found.items()
        if not isinstance(topic, KafkaException)
        for partition in topic.partitions
    ]


def _offsets(
    client: AdminClient, partitions: Sequence[TopicPartition], spec: OffsetSpec
) -> dict[tuple[str, int], int]:
    if not partitions:
        return {}
    asked = client.list_offsets(dict.fromkeys(partitions, spec), request_timeout=_ANSWER_S)
    return {(at.topic, at.partition): _answer(future).offset for at, future in asked.items()}


def _many(n: int, one: str, more: str | None = None) -> str:
    return f"{n} {one if n == 1 else more or one + 's'}"


def _some(of: Sequence[str], most: int = 5) -> str:
    rest = len(of) - most
    return "; ".join(of[:most]) + (f"; and {rest} more" if rest > 0 else "")
