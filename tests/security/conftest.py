"""One Kafka and one Redis with every lock on, for all tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support.certificates import Authority
from tests.support.kafka import create_topic
from tests.support.secure_kafka import SecureKafka
from tests.support.security import KAFKA_PASSWORD, KEY_PASSWORD, LockedKafka, LockedRedis, acls, pasted
from worker.local import kafka as local_kafka
from worker.local import redis as local_redis
from worker.settings import Settings
from worker.topics.acls import ROLES

PARTITIONS = 2


@pytest.fixture(scope="package")
def locked_kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedKafka]:
    """It lacks one topic, and the others partitions; nobody has an ACL or a password yet."""
    missing = local_kafka.available()
    if missing is not None:
        pytest.skip(missing)
    folder = tmp_path_factory.mktemp("kafka")
    kafka, stranger = SecureKafka(folder), Authority(folder, "stranger")
    ours = {
        name: kafka.authority.issue(name, key_password=KEY_PASSWORD)
        for name in ("mtls-worker", "mtls-trends")
    }
    others = {
        "mtls-old": kafka.authority.issue("mtls-old", expired=True, key_password=KEY_PASSWORD),
        "mtls-stranger": stranger.issue("mtls-stranger", key_password=KEY_PASSWORD),
    }
    with kafka.server:
        for topic in Settings().topics.names[:-1]:
            create_topic(kafka.at("ADMIN"), topic)
        yield LockedKafka(kafka, {**ours, **others}, stranger)


@pytest.fixture(scope="package")
def locked_redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LockedRedis]:
    """Its user has the rights of docs/security.md."""
    missing = local_redis.available()
    if missing is not None:
        pytest.skip(missing)
    made = LockedRedis(tmp_path_factory.mktemp("redis"))
    with made.server, made.out_of_date:
        for rule in pasted("redis-cli"):
            made.allow(rule)
        yield made


@pytest.fixture(scope="package")
def granted(locked_kafka: LockedKafka) -> LockedKafka:
    """The Kafka with the users and ACLs of docs/security.md and no others."""
    for role in ROLES:
        locked_kafka.kafka.user(f"moodstream-{role}", KAFKA_PASSWORD)
    locked_kafka.kafka.allow([acl for _, acl in acls(pasted("moodstream topics acls"))])
    return locked_kafka
